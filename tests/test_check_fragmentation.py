"""An image, or a mask of classes, given as a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.check.fragmentation import check_fragmentation, fragmentation
from scripts.errors import InputError
from scripts.volume_io import open_volume, write_volume


def image(dtype: Any, shape: tuple[int, ...] = (8, 16, 16)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (image(np.uint8), r"\d+ ids in \d.* pieces each, and 9\d% .*looks like a grey image.*the wrong way round\?"),
        (image(np.uint16) * 257 + image(np.uint16), "looks like a grey image"),
        (image(np.uint8, (8, 64, 64)) // 12, "looks like a grey image"),
        (np.where(image(np.uint8, (8, 64, 64)) > 100, image(np.uint8, (8, 64, 64)), 0), "looks like a grey image"),
        ((image(np.uint8, (8, 64, 64)) > 100) + (image(np.uint8, (8, 64, 64)) > 150) * np.uint8(1), "a semantic mask"),
    ],
    ids=["uint8", "uint16", "few levels", "dark parts at 0", "two classes"],
)
def test_an_image_or_classes_given_as_a_label_are_rejected(label: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=rf"^l\.tif: .*{words}"):
        check_fragmentation(label, "l.tif")


def test_labels_that_fill_a_volume_and_small_ones_pass(balls: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    filled = np.kron(np.arange(1, 8 * 16 * 16 + 1).reshape(8, 16, 16), np.ones((3, 3, 3), int))
    seeds = np.zeros((8, 64, 64), np.int32)
    seeds[::2, ::3, ::3] = np.arange(1, 4 * 22 * 22 + 1).reshape(4, 22, 22)
    for label in (filled, seeds, balls, np.moveaxis(balls, 0, 2)):
        check_fragmentation(label, "l.tif")
    assert not caplog.messages


def test_ids_of_64_bits_and_volumes_in_files_are_measured(tmp_path: Path, balls: np.ndarray) -> None:
    large = np.where(balls > 0, balls.astype(np.uint64) + np.uint64(2**63), np.uint64(0))
    assert fragmentation(large) == fragmentation(balls) == (1.0, fragmentation(balls).changes, 4)
    write_volume(tmp_path / "l.h5", balls)
    assert fragmentation(open_volume(tmp_path / "l.h5")) == fragmentation(balls)


def test_real_labels_pass_and_real_images_do_not(shared: Path) -> None:
    for name in ("1135_mini", "1136_mini"):
        check_fragmentation(open_volume(shared / "data" / "gonuclear" / f"{name}.h5::label"), name)
        with pytest.raises(InputError, match="looks like a grey image"):
            check_fragmentation(open_volume(shared / "data" / "gonuclear" / f"{name}.h5::raw"), name)
