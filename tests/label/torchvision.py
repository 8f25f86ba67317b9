"""Stands in for torchvision, of which MONAI Label imports two functions that the bundle never calls.

The real one fits one build of torch only, and CPU builds of it are not on PyPI.
"""

from __future__ import annotations

import sys
from types import ModuleType

__version__ = "0.0"


def absent(*args: object, **options: object) -> None:
    raise NotImplementedError("a stand-in for torchvision draws no pictures")


utils = ModuleType("torchvision.utils")
vars(utils).update(make_grid=absent, save_image=absent)
sys.modules["torchvision.utils"] = utils
