"""Shared fixtures: small phantoms, and the development data where it is present."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MONAI_FAIL_ON_DUPLICATE_CONFIG", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of development data beside the checkout; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("development data (shared/) is not beside this checkout")
    return folder


@pytest.fixture
def balls() -> np.ndarray:
    """Labels (Z, Y, X) = (16, 64, 64): two touching balls, one alone, one cut by the border; z is half as fine as y."""
    z, y, x = np.meshgrid(np.arange(16) * 2.0, np.arange(64.0), np.arange(64.0), indexing="ij")
    label = np.zeros((16, 64, 64), np.uint16)
    for i, (cz, cy, cx, r) in enumerate([(16, 20, 18, 9), (16, 20, 35, 9), (16, 48, 48, 8), (8, 60, 12, 9)], 1):
        label[((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= r * r) & (label == 0)] = i
    return label
