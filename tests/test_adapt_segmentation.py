"""`segment`: what MONAI's command makes of a file, from Python and an array, with nothing else changed."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from scripts.adapt import segment
from scripts.check.overlay import configuration
from scripts.errors import InputError
from scripts.plan import METADATA, Plan
from scripts.plan.file import read_plan
from scripts.plan.training import configured_keys
from scripts.volume_io import read_maps, read_volume, write_volume

SIZE = (2.0, 1.0, 0.5)
DECODER = {
    "_target_": "scripts.watershed.BCDWatershed",
    **{"seed_foreground": 0.55, "seed_contour": 0.6, "mask_foreground": 0.45},
    **{"seed_distance": 0.3, "mask_distance": -0.2, "min_seed_size": 1, "min_instance_size": 4},
}
SEEN = {"scale": [1.0, 0.5, 0.5], "training_voxel_size": list(SIZE), "intensity_percentiles": [1.0, 99.0]}


@pytest.fixture(scope="module")
def model(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the tiny network, not trained, with a plan that finds something in their maps."""
    parser = configuration("inference", [tiny], {**SEEN, "window": [8, 16, 16], "flips": 2})
    torch.manual_seed(0)
    state: Any = parser.get_parsed_content("network_def").state_dict()
    plan = Plan({**configured_keys(parser), **SEEN, "decoder": DECODER}, "0.5.0", {"stage": "none"})
    state._metadata[""][METADATA] = plan.to_text()
    path = tmp_path_factory.mktemp("model") / "model.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """(10, 30, 26), whole numbers from 0 to 255, so that every type holds them."""
    rng = np.random.default_rng(0)
    blobs = sum(
        np.roll(np.pad(np.full((4, 9, 9), 120.0), ((0, 6), (0, 21), (0, 17))), shift, (0, 1, 2))
        for shift in [(1, 2, 2), (5, 18, 14), (3, 4, 16)]
    )
    return np.rint(np.clip(rng.normal(60, 12, (10, 30, 26)) + blobs, 0, 255))


@pytest.fixture
def run_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Segment a file as `monai.bundle run` does; return its instances and maps."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(image: Path, model: Path, **overrides: Any) -> tuple[np.ndarray, np.ndarray]:
        bundle = Path(__file__).resolve().parents[1] / "bundle"
        given = {"bundle_root": str(bundle), "image": str(image), "model_path": str(model), "output_dir": str(tmp_path)}
        workflow = ConfigWorkflow(
            str(bundle / "configs" / "inference.yaml"), run_id="run", logging_file=False, **given, **overrides
        )
        workflow.initialize()
        workflow.run()
        stem = image.name.split(".")[0]
        return read_volume(tmp_path / f"{stem}_instances.tif")[0], read_maps(tmp_path / f"{stem}_maps.h5")[0]

    return run


@pytest.mark.parametrize(
    ("dtype", "extension"),
    [("uint8", ".tif"), ("uint16", ".h5"), (">i2", ".nii"), ("int64", ".tif"), ("float64", ".h5"), ("float16", ".tif")],
)
def test_an_array_gives_voxel_for_voxel_what_its_file_gives(
    dtype: str, extension: str, model: Path, grey: np.ndarray, tmp_path: Path, run_file: Any
) -> None:
    array = grey.astype(dtype)
    write_volume(path := tmp_path / f"Y{extension}", array, SIZE)
    instances, maps = run_file(path, model)
    found = segment(array, model, SIZE, maps=True)
    np.testing.assert_array_equal(found.instances, instances)
    np.testing.assert_array_equal(found.maps, maps)
    assert len(found.table["id"]) == len(np.unique(instances)) - 1 > 2
    np.testing.assert_array_equal(segment(path, model).instances, instances)


def test_the_scale_follows_the_voxel_size_and_what_is_changed_is_in_the_plan(
    model: Path, grey: np.ndarray, tmp_path: Path, run_file: Any
) -> None:
    size = (2.0, 1.0, 1.0)
    array = np.moveaxis(np.moveaxis(grey, 0, 2).copy(), 2, 0)  # not contiguous
    write_volume(path := tmp_path / "Y.tif", array.astype(np.uint8), size)
    found = segment(array, model, size, seed_distance=0.0, overlap=np.float32(0.25))
    instances, _ = run_file(path, model, **{"decoder#seed_distance": 0.0, "overlap": 0.25})
    np.testing.assert_array_equal(found.instances, instances)
    assert found.plan.keys["scale"] == [1.0, 0.5, 1.0]
    assert {"scale", "overlap", "decoder"} == {*found.plan.changed}
    assert (found.plan.changed["scale"], found.plan.changed["decoder"]) == ([1.0, 0.5, 0.5], DECODER)
    assert found.plan.keys["decoder"]["seed_distance"] == 0.0
    assert found.plan.keys["decoder"]["min_instance_size"] == 2  # of objects with half as many voxels
    written = read_plan(tmp_path / "Y_maps.h5")
    assert written is not None and written.keys == found.plan.keys
    np.testing.assert_allclose(found.table["volume_um3"], 2.0 * found.table["voxels"])
    given = segment(array, model, (900.0, 1.0, 1.0), scale=(1, 0.5, 0.5))
    assert given.plan.keys["scale"] == [1.0, 0.5, 0.5]
    assert np.array_equal(given.instances, segment(array, model).instances)


def test_nothing_of_the_process_changes_and_threads_may_call_it(
    model: Path, grey: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook", "--image", "other.tif"])
    first, shipped = segment(grey, model), segment(grey)
    before = _process_state()
    found: list[np.ndarray] = []
    torch.manual_seed(3)
    np.random.seed(3)
    thread = threading.Thread(target=lambda: found.append(segment(grey, model).instances))
    thread.start()
    thread.join()
    assert np.array_equal(found[0], first.instances)
    assert np.array_equal(segment(grey).instances, shipped.instances)
    drawn = torch.rand(3, generator=torch.Generator().manual_seed(3)), np.random.RandomState(3).rand()
    assert torch.equal(torch.rand(3), drawn[0]) and np.random.rand() == drawn[1]
    assert _process_state() == before
    assert list(tmp_path.iterdir()) == []


def _process_state() -> list[Any]:
    root = logging.getLogger()
    return [
        *(sys.excepthook, list(sys.path), os.getcwd(), dict(os.environ), logging.raiseExceptions, root.level),
        *(list(root.handlers), torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()),
        torch.are_deterministic_algorithms_enabled(),
    ]


def test_a_state_dict_segments_as_its_file_does(model: Path, grey: np.ndarray) -> None:
    state = torch.load(model, weights_only=True)
    assert np.array_equal(segment(grey, state, SIZE).instances, segment(torch.from_numpy(grey), model, SIZE).instances)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": [8, 8, 8]}, "window: found a change that is not possible, expected one of overlap, flips, scale"),
        ({"seed_distanse": 0.1}, "Did you mean seed_distance?"),
        ({"flips": 3}, "flips: found 3, expected one of 1, 2, 4, 8, 16"),
        ({"overlap": "half"}, "overlap: found 'half'"),
        ({"min_instance_size": -1}, "min_instance_size: found -1"),
        ({"small_mode": "none of these"}, "small_mode: found 'none of these'"),
        ({"scale": [1, 100, 1]}, "scale: found"),
        ({"voxel_size": (200, 100, 50)}, "expected sizes that differ by at most 20 times"),
        ({"voxel_size": (1, 2)}, "voxel_size: found (1, 2), expected three positive micrometres"),
        ({"model": "none.pt"}, "none.pt: no such file"),
        ({"model": 3}, "model: found int"),
        ({"model": {}}, "does not fit the network"),
        ({"image": np.ones((3, 4))}, "image: 2D, shape (3, 4)"),
        ({"image": np.ones((1, 9, 9, 9))}, "image: 4D"),
        ({"image": np.ones((0, 9, 9))}, "no voxels"),
        ({"image": np.full((9, 9, 9), np.nan)}, "image: 729 NaN"),
        ({"image": np.ones((9, 9, 9))}, "image: every voxel is 1.0"),
        ({"image": np.ones((9, 9, 9), complex)}, "image: values of type complex128"),
        ({"image": np.arange(162.0).reshape(2, 9, 9)}, "image: shape (2, 9, 9)"),
        ({"image": None}, "image: values of type object"),
        ({"image": "none.tif"}, "none.tif: no such file"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_segmented_is_one_line(change: dict[str, Any], message: str, model: Path, grey: Any) -> None:
    with pytest.raises(InputError) as raised:
        segment(**{"image": grey, "model": model, "voxel_size": SIZE, **change})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_without_a_plan_are_used_with_a_warning(
    model: Path, grey: np.ndarray, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    state = torch.load(Path(__file__).resolve().parents[1] / "bundle" / "models" / "model.pt", weights_only=True)
    del state._metadata[""][METADATA]
    torch.save(state, tmp_path / "old.pt")
    found = segment(grey, tmp_path / "old.pt")
    assert [record.message for record in caplog.records if "no plan" in record.message] == [
        f"{tmp_path / 'old.pt'}: carries no plan of how Y was seen; the values of inference.yaml are used."
    ]
    assert np.array_equal(found.instances, segment(grey).instances)
