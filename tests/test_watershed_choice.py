"""Maps decode to the same labels again without a flag: their plan says decoder and thresholds, flags override it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scripts.blockwise.__main__ import main as blockwise
from scripts.checkpoint.weights import noted_state
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.plan.file import METADATA, read_plan
from scripts.volume_io import create_zarr, read_volume, write_volume
from scripts.watershed import TARGETS, BCDWatershed, BCWatershed, bcd_watershed, decoder_of
from scripts.watershed.__main__ import main as watershed
from scripts.watershed.choice import choose, definition_of, with_decoder
from torch import nn

from test_watershed import NAMED, noisy_maps

BCD, BC = "scripts.watershed.BCDWatershed", "scripts.watershed.BCWatershed"
# other than any default
OPTIONS: dict[str, dict[str, Any]] = {
    "bcd": {"seed_distance": 0.55, "min_instance_size": 40, "height": "distance", "small_mode": "none"},
    "bc": {"seed_contour": 0.3, "mask_foreground": 0.7, "min_seed_size": 20},
    "affinity": {"seed_affinity": 0.7, "mask_affinity": 0.6, "min_instance_size": 30},
}


def plan_of(target: str, **options: Any) -> Plan:
    return Plan({"decoder": {"_target_": f"scripts.watershed.{TARGETS[target].__name__}", **options}}, "0.5.0")


def maps_of(target: str) -> np.ndarray:
    maps = noisy_maps(3)[: len(NAMED[target])]
    return np.stack([maps[0]] * 3) if target == "affinity" else maps


def stored(path: Path, target: str, plan: Plan | None) -> Path:
    maps, kept = maps_of(target), {} if plan is None else {METADATA: plan.to_text()}
    if path.suffix == ".h5":
        write_volume(path, maps, channel_names=NAMED[target], attributes=kept)
        return path
    store = create_zarr(path, maps.shape, maps.dtype, (1, 5, 16, 20), channel_names=NAMED[target], attributes=kept)
    store[:] = maps
    return path


@pytest.mark.parametrize("name", ["maps.h5", "maps.zarr"])
@pytest.mark.parametrize("target", OPTIONS)
def test_both_commands_take_decoder_and_thresholds_from_the_maps(
    target: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(target, **OPTIONS[target])
    pred, expected = stored(tmp_path / name, target, plan), TARGETS[target](**OPTIONS[target])(maps_of(target))
    assert len(np.unique(expected)) > 2
    watershed(str(pred), str(tmp_path / "whole.h5"))
    np.testing.assert_array_equal(read_volume(tmp_path / "whole.h5")[0], expected)
    blockwise(str(pred), str(tmp_path / "blocks.ome.zarr"), block=(12, 20, 44), halo=(2, 4, 4))
    np.testing.assert_array_equal(read_volume(tmp_path / "blocks.ome.zarr")[0], expected)
    said = capsys.readouterr().out
    [name, value] = next(iter(OPTIONS[target].items()))
    assert said.count(f"{name} {value}") == 2 and said.count(f"from the plan of {pred}") == 2
    for result in ("whole.h5", "blocks.ome.zarr"):
        found = read_plan(tmp_path / result)
        assert found is not None and not found.changed
        assert definition_of(decoder_of(found.keys["decoder"])) == definition_of(TARGETS[target](**OPTIONS[target]))


def test_a_flag_overrides_and_is_recorded_with_the_value_of_the_maps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred = stored(tmp_path / "maps.h5", "bcd", plan_of("bcd", **OPTIONS["bcd"]))
    watershed(str(pred), str(tmp_path / "a.zarr"), seed_distance=0.4, target="bcd")
    expected = bcd_watershed(maps_of("bcd"), **{**OPTIONS["bcd"], "seed_distance": 0.4})
    np.testing.assert_array_equal(read_volume(tmp_path / "a.zarr")[0], expected)
    line = capsys.readouterr().out.splitlines()[0]
    assert "seed_distance 0.4 from the command line" in line and "min_instance_size 40" in line
    found = read_plan(tmp_path / "a.zarr")
    assert found is not None and found.keys["decoder"]["seed_distance"] == 0.4
    assert found.changed["decoder"]["seed_distance"] == 0.55
    # decoded again as the model says, nothing differs from it
    assert with_decoder(found, BCDWatershed(**OPTIONS["bcd"])).changed == {}


def test_maps_without_a_plan_decode_by_the_documented_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred = stored(tmp_path / "maps.h5", "bcd", None)
    watershed(str(pred), str(tmp_path / "a.h5"), min_instance_size=50)
    np.testing.assert_array_equal(
        read_volume(tmp_path / "a.h5")[0], bcd_watershed(maps_of("bcd"), min_instance_size=50)
    )
    line = capsys.readouterr().out.splitlines()[0]
    assert "seed_distance 0.5" in line and "by default" in line and "plan" not in line
    found = read_plan(tmp_path / "a.h5")
    assert found is not None and found.keys["decoder"]["min_instance_size"] == 50


@pytest.mark.parametrize("command", [watershed, blockwise])
def test_a_target_that_contradicts_the_plan_is_rejected(command: Any, tmp_path: Path) -> None:
    pred = stored(tmp_path / "maps.h5", "bcd", plan_of("bcd"))
    with pytest.raises(InputError, match=r"--target bc, but .*maps\.h5 holds maps for bcd"):
        command(str(pred), str(tmp_path / "a.zarr"), target="bc")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"_target_": "scripts.watershed.BCWatershed", "speed": 3}, r"maps\.h5: its plan: .*the option speed"),
        ({"_target_": "scripts.watershed.BCDWatershed", "seed_distance": "abc"}, r"seed_distance: found 'abc'"),
        ({"_target_": "scripts.watershed.BCDWatershed", "scale_factors": [1, 2]}, r"scale_factors: found \[1, 2\]"),
        ({"_target_": "scripts.watershed.BCDWatershed", "min_seed_size": True}, r"min_seed_size: found True"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_one_line(definition: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose("maps.h5", Plan({"decoder": definition}), None, {})
    with pytest.raises(InputError, match=r"maps\.h5: found the decoder scripts\.networks\.Other, expected one of"):
        decoder_of({"_target_": "scripts.networks.Other"}, "maps.h5")


def test_flags_of_another_type_and_plans_that_blocks_cannot_follow_are_one_line(tmp_path: Path) -> None:
    pred = stored(tmp_path / "maps.h5", "bcd", plan_of("bcd", ties="heap"))
    with pytest.raises(InputError, match="--seed_distance: found 'abc', expected a number"):
        watershed(str(pred), str(tmp_path / "a.tif"), seed_distance="abc")
    with pytest.raises(InputError, match=r"ties: cannot be changed .* give raster"):
        blockwise(str(pred), str(tmp_path / "a.zarr"))
    blockwise(str(pred), str(tmp_path / "a.zarr"), ties="raster")


def test_a_decoder_of_another_package_is_not_recorded_as_ours() -> None:
    class BCDWatershed2(BCDWatershed):
        pass

    model = plan_of("bcd")
    assert "decoder" not in with_decoder(model, BCDWatershed2()).keys
    assert "decoder" not in with_decoder(model, lambda maps: maps).keys
    assert with_decoder(model, BCWatershed()).changed["decoder"] == model.keys["decoder"]


# ---- as a user runs it: inference, and its maps decoded again --------------------------------------------------------
NETWORK = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "kernel_size": 3, "padding": 1}
NETWORK |= {"out_channels": "$1 + @representation.channels"}
# gain and offset of each map on the smoothed grey value; the translated image first
MAPS = {
    "bcd": ([1, 10, -10, 2], [0, 0, 0, 0]),
    "bc": ([1, 10, -10], [0, 0, 0]),
    "affinity": ([1, 10, 10, 10], [0, 0, 0.5, -0.5]),
}


@pytest.fixture
def scene(tmp_path: Path, balls: np.ndarray) -> Callable[..., dict[str, Any]]:
    """Write a volume, whose voxels are smaller in the plane than training's, and a model of a target."""

    def write(target: str, side: float = 0.5) -> dict[str, Any]:
        noise = np.random.default_rng(0).normal(0, 25, balls.shape)
        image = np.clip(np.where(balls > 0, 190, 30) + noise, 0, 255).astype(np.uint8)
        write_volume(tmp_path / "Y.tif", image, (2.0, side, side))
        gains, offsets = (torch.tensor(values) for values in MAPS[target])
        network = nn.Conv3d(1, len(gains), 3, padding=1)
        network.weight.data = torch.full_like(network.weight, 1 / 27) * gains[:, None, None, None, None]
        network.bias.data = offsets.float()
        keys = {"scale": [1.0, 1.0, 1.0], "training_voxel_size": [2.0, 1.0, 1.0], "intensity_gamma": 1.0}
        torch.save(noted_state(network, (), Plan(keys)), tmp_path / "model.pt")
        files = {"image": tmp_path / "Y.tif", "model_path": tmp_path / "model.pt", "output_dir": tmp_path / "out"}
        return {**files, "network_def": NETWORK}

    return write


def decoded_again(pred: Path, folder: Path) -> Iterator[np.ndarray]:
    """Labels of maps as both commands give them without a flag."""
    watershed(str(pred), str(folder / "whole.tif"))
    yield read_volume(folder / "whole.tif")[0]
    blockwise(str(pred), str(folder / "blocks.zarr"))
    yield read_volume(folder / "blocks.zarr")[0]


@pytest.mark.parametrize(
    ("target", "given"),
    [
        # sizes that no file names follow the volume's voxels, those that were given do as well
        ("bcd", {"decoder::seed_distance": 0.4, "decoder::min_instance_size": 40}),
        ("bc", {"scale": [1.0, 0.5, 0.75], "decoder": {"_target_": BC, "seed_contour": 0.1}}),
        ("affinity", {}),
        ("bcd", {"decoder": {"_target_": BCD, "small_mode": "none"}}),
    ],
)
def test_both_commands_give_the_instances_of_inference(
    target: str, given: dict[str, Any], scene: Callable[..., dict[str, Any]], run_here: Any, tmp_path: Path
) -> None:
    overlays = [] if target == "bcd" else [f"target_{target}"]
    run_here("inference", "inference", *overlays, **scene(target), **given)
    expected = read_volume(tmp_path / "out" / "Y_instances.tif")[0]
    found = read_plan(tmp_path / "out" / "Y_maps.h5")
    assert len(np.unique(expected)) >= 3 and found is not None
    assert found.keys["scale"] == given.get("scale", [1.0, 0.5, 0.5])
    if "scale" not in given:
        least = given.get("decoder::min_instance_size", 256)
        assert found.keys["decoder"]["min_instance_size"] == 4 * least
    for labels in decoded_again(tmp_path / "out" / "Y_maps.h5", tmp_path):
        np.testing.assert_array_equal(labels, expected)


def test_both_commands_give_the_instances_of_inference_block_by_block(
    scene: Callable[..., dict[str, Any]], run_here: Any, tmp_path: Path
) -> None:
    # a definition of its own, which leaves out the sizes: the volume's voxels multiply the defaults
    blocks = {"window": [16, 16, 16], "block": [16, 32, 32], "decoding_block": [16, 32, 32]}
    given = {"decoder": {"_target_": BCD, "seed_distance": 0.3}, **blocks}
    run_here("inference", "inference", "blockwise", **scene("bcd", 0.7), **given)
    expected = read_volume(tmp_path / "out" / "instances.ome.zarr")[0]
    assert len(np.unique(expected)) >= 3
    for labels in decoded_again(tmp_path / "out" / "maps.zarr", tmp_path):
        np.testing.assert_array_equal(labels, expected)
    plans = [read_plan(tmp_path / "out" / name) for name in ("maps.zarr", "instances.ome.zarr")]
    assert [plan and plan.keys["decoder"]["min_instance_size"] for plan in plans] == [522, 522]
