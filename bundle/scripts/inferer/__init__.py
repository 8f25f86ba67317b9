"""Sliding-window inference of the target maps: activate in each window, then blend."""

from scripts.inferer.padding import pad_by_reflection
from scripts.inferer.sliding_window import MapInferer

__all__ = ["MapInferer", "pad_by_reflection"]
