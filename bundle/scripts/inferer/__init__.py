"""Sliding-window inference of the target maps: activate in each window, then blend."""

from scripts.inferer.part import PartInferer
from scripts.inferer.physical import for_voxel_size
from scripts.inferer.shared import SharedMapInferer, slabs
from scripts.inferer.sliding_window import MapInferer
from scripts.inferer.window import WindowGrid

__all__ = ["MapInferer", "PartInferer", "SharedMapInferer", "WindowGrid", "for_voxel_size", "slabs"]
