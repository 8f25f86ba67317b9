"""Physical size: the network sees objects of a volume as large as those that it learned, whatever the voxels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scripts.checkpoint.weights import noted_state
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.inferer import MapInferer, SharedMapInferer, for_voxel_size
from scripts.metrics import match_instances
from scripts.plan import Plan
from scripts.plan.file import read_plan
from scripts.representation import Foreground, Representation
from scripts.volume_io import read_volume, write_volume
from scripts.volume_io.physical import physical_scale
from scripts.watershed import BCDWatershed
from torch import nn

TRAINED = (2.0, 1.0, 1.0)
CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"


def test_a_scale_follows_from_two_voxel_sizes_along_each_axis() -> None:
    assert physical_scale((1, 0.5, 0.5), TRAINED, (2.0, 2.0, 0.5)) == (1.0, 1.0, 0.25)
    for unknown in ((None, TRAINED), (TRAINED, None)):
        assert physical_scale((1, 0.5, 0.5), *unknown) == (1.0, 0.5, 0.5)
    assert physical_scale((1, 0.3, 0.3), TRAINED, (2.039, 0.981, 1.0)) == (1, 0.3, 0.3)
    assert physical_scale((1, 0.3, 0.3), TRAINED, (2.039, 2.0, 1.0)) == (1, 0.6, 0.3)
    with pytest.raises(InputError, match=r"Y.nii: found voxels of 2000 x 1000 x 1000 µm .*trained on voxels of 2 x 1"):
        physical_scale((1, 1, 1), TRAINED, (2000.0, 1000.0, 1000.0), "Y.nii")
    with pytest.raises(
        InputError, match=r"Y.nii: its voxels of 20 x 1 x 1 µm .*scaled by 30 x 1 x 1, expected at most"
    ):
        physical_scale((3, 1, 1), TRAINED, (20.0, 1.0, 1.0), "Y.nii")


def inferer_of(**options: Any) -> MapInferer:
    return MapInferer(Representation([Foreground()]), (8, 16, 16), progress=False, **{"padding": 0, **options})


def image_of(array: np.ndarray, *size: float) -> MetaTensor:
    meta = {"voxel_size": torch.tensor([size], dtype=torch.float64), "filename_or_obj": ["a.tif"]}
    return MetaTensor(torch.as_tensor(array, dtype=torch.float32)[None, None], meta=meta)


class Seen(nn.Conv3d):
    """A network that keeps the windows it was shown."""

    def __init__(self) -> None:
        super().__init__(1, 2, 3, padding=1)
        self.windows: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.windows.append(x)
        return super().forward(x)


def test_the_network_sees_the_same_voxels_of_a_volume_that_was_resampled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    network = Seen()
    array = np.random.default_rng(0).uniform(-1, 1, (12, 20, 20))
    fine = array.repeat(2, axis=1).repeat(2, axis=2)
    inferer = inferer_of(training_voxel_size=TRAINED)
    whole = inferer(image_of(array, *TRAINED), network)
    assert not caplog.text and torch.equal(whole, inferer_of()(image_of(array, *TRAINED), network))
    del network.windows[len(network.windows) // 2 :]
    expected = torch.cat(network.windows)
    shared = SharedMapInferer(
        inferer.representation, (8, 16, 16), padding=0, training_voxel_size=TRAINED, empty_below=-2
    )
    for one in (inferer, shared):
        network.windows.clear()
        found = one(image_of(fine, 2.0, 0.5, 0.5), network)
        assert torch.allclose(torch.cat(network.windows), expected, atol=1e-6)
    assert found.meta["scale"].tolist() == [[1.0, 0.5, 0.5]] and found.meta["voxel_factor"].tolist() == [4.0]
    assert "a.tif: scale 1 x 0.5 x 0.5 instead of 1 x 1 x 1, since its voxels are 2 x 0.5 x 0.5 µm" in caplog.text


def test_window_and_padding_cover_the_same_lengths() -> None:
    inferer = inferer_of(training_voxel_size=TRAINED, padding=(1, 4, 4))
    own = for_voxel_size(inferer, (2.0, 0.5, 0.5))
    assert own.padding == (1, 8, 8) and own.windows((12, 40, 40)).size == (8, 32, 32)
    assert for_voxel_size(inferer, None) is inferer is for_voxel_size(inferer, (2.02, 1.01, 1.0))


def test_sizes_of_a_decoder_count_the_voxels_of_the_volume() -> None:
    decoder = BCDWatershed(min_instance_size=100)
    assert decoder.for_voxels(1.0) is decoder
    assert decoder.for_voxels(0.25).options == {"min_instance_size": 25, "min_seed_size": 8}
    plan = Plan(
        {"scale": [1.0, 1.0, 1.0], "decoder": {"_target_": "scripts.watershed.BCDWatershed", "min_seed_size": 8}}
    )
    own = plan.for_volume([1.0, 0.5, 0.5])
    assert own.keys["decoder"]["min_seed_size"] == 32 and own.changed["scale"] == [1.0, 1.0, 1.0]
    assert plan.for_volume([1, 1, 1]) is plan


# ---- as a user runs it -----------------------------------------------------------------------------------------------
Run = Callable[..., Any]
NETWORK = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 3, "padding": 1}
SIZES = {"Y": (1, 1, 1), "fine": (1, 2, 2), "coarse": (1, 0.5, 0.5)}


@pytest.fixture
def scene(tmp_path: Path, balls: np.ndarray) -> Path:
    """A volume, the same with finer and coarser voxels, and a model whose smoothing sees one size alone."""
    label = balls.repeat(2, axis=1).repeat(2, axis=2)[:, ::2, ::2]
    for name, (_, y, _x) in SIZES.items():
        own = label.repeat(2, axis=1).repeat(2, axis=2) if y == 2 else label[:, 1::2, 1::2] if y == 0.5 else label
        image = np.where(own > 0, 200, 20).astype(np.uint8)
        write_volume(tmp_path / f"{name}.tif", image, (2.0, 1.0 / y, 1.0 / y))
    network = nn.Conv3d(1, 4, 3, padding=1)
    with torch.no_grad():
        network.weight.fill_(1 / 27)
        network.weight *= torch.tensor([1.0, 10.0, -10.0, 2.0])[:, None, None, None, None]
        network.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0]))
    keys = {"scale": [1.0, 1.0, 1.0], "training_voxel_size": list(TRAINED), "intensity_gamma": 1.0}
    torch.save(noted_state(network, (), Plan(keys)), tmp_path / "model.pt")
    return tmp_path


def given(scene: Path, **more: Any) -> dict[str, Any]:
    decoder = {"decoder::min_seed_size": 8, "decoder::min_instance_size": 64}
    return {"model_path": scene / "model.pt", "output_dir": scene / "out", "network_def": NETWORK, **decoder, **more}


def test_a_volume_that_was_resampled_gives_the_same_objects(scene: Path, run_here: Run) -> None:
    names = [str(scene / f"{name}.tif") for name in SIZES]
    run_here("run", "inference", image=names, **given(scene))
    found = {name: read_volume(scene / "out" / f"{name}_instances.tif")[0] for name in SIZES}
    counts = {name: len(np.unique(labels)) - 1 for name, labels in found.items()}
    assert counts["Y"] >= 3 and len(set(counts.values())) == 1
    plans = {name: read_plan(scene / "out" / f"{name}_maps.h5") for name in SIZES}
    assert [plan and plan.keys["decoder"]["min_instance_size"] for plan in plans.values()] == [64, 256, 16]
    assert [plan and plan.keys["scale"] for plan in plans.values()] == [[1, 1, 1], [1, 0.5, 0.5], [1, 2, 2]]
    for name, labels in found.items():
        factor = SIZES[name][1]
        same = labels[:, ::2, ::2] if factor == 2 else labels if factor == 1 else labels.repeat(2, 1).repeat(2, 2)
        assert match_instances(found["Y"], same).true_positives == counts["Y"], name


def test_voxels_of_a_wrong_unit_end_a_run_before_any_work(scene: Path, run_here: Run) -> None:
    array = read_volume(scene / "Y.tif")[0]
    write_volume(scene / "mm.nii.gz", array, (2000.0, 1000.0, 1000.0))
    images = [str(scene / "Y.tif"), str(scene / "mm.nii.gz")]
    with pytest.raises(Exception) as raised:
        run_here("run", "inference", image=images, **given(scene))
    error = str(expected_error(raised.value))
    assert (
        "mm.nii.gz: found voxels of 2000 x 1000 x 1000 µm" in error and "2 x 1 x 1 µm" in error and "--scale" in error
    )
    assert not list((scene / "out").glob("*"))
    run_here("run", "inference", image=images[1:], **given(scene, scale=[1.0, 0.9, 0.9]))
    assert (scene / "out" / "mm_instances.tif").exists()
