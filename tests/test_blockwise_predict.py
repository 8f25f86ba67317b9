"""Maps predicted block by block are those of the whole volume, and a run goes on where it was stopped."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data.utils import dense_patch_slices
from scripts.blockwise.inference import BlockwiseInference
from scripts.blockwise.predict import Prediction, PredictWork, predict_volume
from scripts.blockwise.run import UnfinishedError
from scripts.blockwise.schedule import Schedule
from scripts.checkpoint import WeightsSaver
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.inferer import MapInferer, PartInferer, WindowGrid
from scripts.inferer.padding import reflected
from scripts.networks import SegmentationGenerator
from scripts.plan import Plan
from scripts.plan.file import read_plan
from scripts.representation import Contour, Foreground, Representation
from scripts.transforms.intensity import GreyScale, ScaleGreyValues
from scripts.volume_io import create_zarr, open_volume, read_maps, write_volume
from scripts.volume_io.grid import Grid, chunk_side
from torch import nn

from test_inferer import pad_by_reflection

SHAPE = (23, 50, 61)
BLOCKS = [(23, 50, 61), (12, 50, 61), (10, 24, 32), (9, 17, 20), (16, 32, 32)]
MAPS = Representation([Foreground(), Contour()])
Run = Callable[..., Any]


def image_of(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Spots on a dim ground, uint16."""
    rng = np.random.default_rng(seed)
    coarse = rng.random([-(-n // 4) for n in shape]) ** 4
    fine = np.kron(coarse, np.ones((4, 4, 4)))[tuple(map(slice, shape))]
    return (300 + 4000 * fine + rng.normal(0, 40, shape)).clip(0).astype(np.uint16)


class Surroundings(nn.Module):
    """Logits that depend on neighbours, on the border of the window and on its mean, as a network's with norms do."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv3d(1, 3, 3, padding=1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return 3 * self.convolution(windows - windows.mean((2, 3, 4), keepdim=True))


def generator() -> SegmentationGenerator:
    torch.manual_seed(0)
    options = {"filters": [4, 8], "isotropic_from": 0, "norm": ["group", {"num_groups": 2}], "padding_mode": "zeros"}
    return SegmentationGenerator(out_channels=3, **options).eval()


def maps_in(path: Path) -> np.ndarray:
    return open_volume(path, ndim=4)[:]


def inferer_of(**options: Any) -> MapInferer:
    given = {"roi_size": (8, 8, 8), "padding": (3, 5, 4), "scale": (1.0, 0.5, 0.5), "progress": False}
    return MapInferer(MAPS, **{**given, **options})


def whole_of(image: np.ndarray, inferer: MapInferer, network: Any, gamma: float = 0.5) -> torch.Tensor:
    """What inference.yaml does with a volume in memory, (C, Z, Y, X) float32."""
    scaled = ScaleGreyValues(gamma=gamma)(torch.from_numpy(image.astype(np.float32))[None])
    return inferer(torch.as_tensor(scaled)[None], network)[0]


def percentiles_of(image: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(image, (0.5, 99.5)).astype(np.float32).tolist()
    return low, high


def prediction_of(inferer: MapInferer | None = None, **options: Any) -> Prediction:
    given = {"channel_names": ["foreground", "contour"], "gamma": 0.5}
    return Prediction(inferer or inferer_of(), options.pop("network", Surroundings()), **{**given, **options})


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """The image as a Zarr store whose chunks are no blocks."""
    store = create_zarr(tmp_path / "image.zarr", SHAPE, np.uint16, (7, 16, 30), (2.0, 1.0, 0.5))
    store[:, :, :] = image_of()
    return tmp_path / "image.zarr"


# ---- windows and padding ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("shape", "size", "overlap"), [((40, 41, 8), (8, 9, 8), 0.5), ((17, 30, 31), (5, 30, 7), 0.3)])
def test_the_window_grid_is_that_of_monai(shape: tuple, size: tuple, overlap: float) -> None:
    grid = WindowGrid.of(shape, size, [overlap] * 3)
    stride = [n if n == whole else max(1, int(n * (1 - overlap))) for n, whole in zip(size, shape, strict=True)]
    expected = [tuple(side.start for side in window) for window in dense_patch_slices(shape, size, stride)]
    assert list(itertools.product(*grid.starts)) == expected
    assert len(grid) == len(expected)
    box = (slice(3, 9), slice(0, 30), slice(7, 8))
    touching = [
        place
        for place in expected
        if all(p < b.stop and p + n > b.start for p, n, b in zip(place, size, box, strict=True))
    ]
    assert list(itertools.product(*grid.overlapping(box).starts)) == touching


@pytest.mark.parametrize(("size", "padding"), [(7, 3), (7, 6), (4, 9), (1, 2), (5, 0)])
def test_parts_of_a_padded_side_come_from_where_the_padding_took_them(size: int, padding: int) -> None:
    whole = pad_by_reflection(torch.arange(float(size)).view(1, 1, 1, 1, size), (0, 0, padding)).flatten().numpy()
    for start, stop in itertools.combinations(range(size + 2 * padding + 1), 2):
        assert np.array_equal(reflected(slice(start, stop), padding, size), whole[start:stop])


# ---- a part has the values of the whole ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": (1.0, 1.0, 1.0), "roi_size": (8, 16, 16), "sw_batch_size": 3},
        {"with_image": True, "flips": 2, "overlap": 0.25, "mode": "constant"},
        {"roi_size": (40, 8, 12), "empty_below": -0.6},
        {"scale": (1.5, 0.7, 0.5), "padding": (30, 0, 2)},
    ],
)
def test_maps_of_parts_are_those_of_the_whole(options: dict[str, Any]) -> None:
    image, network, inferer = image_of(), Surroundings(), inferer_of(**options)
    whole = whole_of(image, inferer, network)
    assert whole.std() > 0.01
    part = PartInferer(inferer, network, SHAPE, GreyScale(*percentiles_of(image), 0.5))
    for block in BLOCKS[1:] if "roi_size" not in options else BLOCKS[2:4]:
        grid, found = Grid.of(SHAPE, block), torch.full_like(whole, -1)
        for number in range(len(grid)):
            box = grid.core(number)
            for planes, maps in part.planes(image[part.source(box)], box):
                found[(slice(None), *box)][:, planes] = maps
        torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


def test_maps_of_the_generator_in_parts_are_those_of_the_whole() -> None:
    image, network, inferer = image_of()[:, :, :40], generator(), inferer_of(roi_size=(16, 16, 16))
    whole = whole_of(image, inferer, network)
    part = PartInferer(inferer, network, image.shape, GreyScale(*percentiles_of(image), 0.5))
    box = (slice(4, 23), slice(16, 40), slice(0, 25))
    for planes, maps in part.planes(image[part.source(box)], box):
        torch.testing.assert_close(maps, whole[(slice(None), *box)][:, planes], atol=1e-5, rtol=0)
        assert maps.std() > 0.01


def test_grey_values_are_those_of_the_transforms() -> None:
    image = image_of()
    low, high = percentiles_of(image)
    seen: list[torch.Tensor] = []

    def look(windows: torch.Tensor) -> torch.Tensor:
        seen.append(windows[0, 0])
        return windows.expand(-1, 3, -1, -1, -1)

    whole_of(image, inferer_of(roi_size=(-1, -1, -1), padding=0, scale=(1, 1, 1)), look)
    assert torch.equal(GreyScale(low, high, 0.5)(torch.from_numpy(image.astype(np.float32))), seen[0])
    assert (seen[0].min(), seen[0].max()) == (-1, pytest.approx(1))


@pytest.mark.parametrize("block", BLOCKS)
def test_bytes_do_not_depend_on_the_blocks(block: tuple[int, ...], stored: Path, tmp_path: Path) -> None:
    inferer = inferer_of(with_image=True)
    prediction = prediction_of(inferer, channel_names=["image", "foreground", "contour"])
    store = predict_volume(stored, tmp_path / "maps.zarr", prediction, block=block)
    whole = (whole_of(image_of(), inferer, Surroundings()) * 255).to(torch.uint8).numpy()
    maps = open_volume(tmp_path / "maps.zarr", ndim=4)
    off = np.abs(maps[:].astype(int) - whole)
    assert off.max() <= 1 and (off > 0).mean() < 1e-4
    assert maps.voxel_size == (2.0, 1.0, 0.5)
    assert store.channel_names == ["image", "foreground", "contour"]
    assert store.chunks == (1, *map(chunk_side, block))


# ---- going on, and sharing -------------------------------------------------------------------------------------------
@pytest.fixture
def once(stored: Path, tmp_path: Path) -> np.ndarray:
    """The maps of a run that was not disturbed."""
    predict_volume(stored, tmp_path / "once.zarr", prediction_of(), block=(16, 32, 32))
    return maps_in(tmp_path / "once.zarr")


def test_a_run_that_was_stopped_goes_on(
    once: np.ndarray, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    predict = PredictWork.__call__

    def counted(work: PredictWork, block: int) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        predict(work, block)
        done.append(block)

    monkeypatch.setattr(PredictWork, "__call__", counted)
    with pytest.raises(KeyboardInterrupt):
        predict_volume(stored, tmp_path / "maps.zarr", prediction_of(), block=(16, 32, 32))
    done.append(-1)
    predict_volume(stored, tmp_path / "maps.zarr", prediction_of(), block=(16, 32, 32))
    assert sorted(done) == [-1, *range(8)]
    assert np.array_equal(maps_in(tmp_path / "maps.zarr"), once)


def test_two_shards_fill_one_store(once: np.ndarray, stored: Path, tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match="predict: 4 of 8 blocks are left to other shards"):
        predict_volume(stored, tmp_path / "maps.zarr", prediction_of(), block=(16, 32, 32), schedule=Schedule(shards=2))
    schedule = Schedule(shard=1, shards=2)
    predict_volume(stored, tmp_path / "maps.zarr", prediction_of(), block=(16, 32, 32), schedule=schedule)
    assert np.array_equal(maps_in(tmp_path / "maps.zarr"), once)


def test_other_settings_do_not_mix(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps.zarr"
    predict_volume(stored, out, prediction_of(), block=(23, 50, 61))
    with pytest.raises(InputError, match=r"flips: 1 there, 2 now"):
        predict_volume(stored, out, prediction_of(inferer_of(flips=2)), block=(23, 50, 61))
    other = prediction_of()
    next(other.network.parameters()).data += 1
    with pytest.raises(InputError, match="network: "):
        predict_volume(stored, out, other, block=(23, 50, 61))


def test_maps_have_a_plan_from_the_first_block_on_and_none_of_another_scale_is_mixed_in(
    stored: Path, tmp_path: Path
) -> None:
    out, halves = tmp_path / "maps.zarr", Schedule(shards=2)

    def planned(seed_distance: float, scale: float = 1.0) -> Prediction:
        keys = {"scale": [1.0, scale, scale], "decoder": {"_target_": "scripts.watershed.BCDWatershed"}}
        keys["decoder"]["seed_distance"] = seed_distance
        return prediction_of(inferer_of(scale=keys["scale"], plan=Plan(keys).to_text()))

    with pytest.raises(UnfinishedError):
        predict_volume(stored, out, planned(0.6), block=(16, 32, 32), schedule=halves)
    before = read_plan(out)
    with pytest.raises(InputError, match=r"scale: \[1\.0, 1\.0, 1\.0\] there, \[1\.0, 0\.5, 0\.5\] now"):
        predict_volume(stored, out, planned(0.6, 0.5), block=(16, 32, 32))
    assert read_plan(out) == before and before is not None
    # thresholds do not change the maps: the run that completes them has the last word
    predict_volume(stored, out, planned(0.4), block=(16, 32, 32), schedule=Schedule(shard=1, shards=2))
    after = read_plan(out)
    assert after is not None and after.keys["decoder"]["seed_distance"] == 0.4


def test_an_image_that_was_edited_since_is_told(tmp_path: Path) -> None:
    image, out = tmp_path / "image.h5", tmp_path / "maps.zarr"
    write_volume(image, np.random.default_rng(0).integers(0, 255, (16, 32, 64)).astype(np.uint8))
    predict_volume(image, out, prediction_of(), block=(16, 32, 32))
    predict_volume(image, out, prediction_of(), block=(16, 32, 32))
    os.utime(image, (1, 1))
    with pytest.raises(InputError, match=r"last_change: .* there, .* bytes of 1970-01-01T00:00:01\+00:00 now"):
        predict_volume(image, out, prediction_of(), block=(16, 32, 32))


# ---- empty parts -----------------------------------------------------------------------------------------------------
def test_blocks_in_the_dark_are_neither_read_nor_given_to_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 10, (16, 32, 160)).astype(np.uint8)
    image[4:10, 8:24, 8:24] = 200
    write_volume(tmp_path / "image.h5", image)
    inferer = inferer_of(empty_below=-0.5)
    whole = (whole_of(image, inferer, Surroundings()) * 255).to(torch.uint8).numpy()
    read: list[int] = []
    planes = PartInferer.planes

    def counted(part: PartInferer, voxels: np.ndarray, box: Any) -> Any:
        read.append(box[2].start)
        return planes(part, voxels, box)

    monkeypatch.setattr(PartInferer, "planes", counted)
    store = predict_volume(tmp_path / "image.h5", tmp_path / "maps.zarr", prediction_of(inferer), block=(16, 32, 32))
    assert read == [0, 32]
    assert np.abs(store[:].astype(int) - whole).max() <= 1
    assert whole[..., :40].any() and not whole[..., 64:].any()


# ---- bad input -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": (16, 8, 32)}, r"block: found \[16, 8, 32\], expected at least \[8, 16, 16\]"),
        ({"block": (0, 8, 32)}, "three whole numbers"),
        ({"prediction": prediction_of(intensity_range=(5, 5))}, r"intensity_range: found \[5, 5\]"),
        ({"prediction": prediction_of(percentiles=(50, 50))}, "the lower one first"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, Any], message: str, stored: Path, tmp_path: Path) -> None:
    given = {"prediction": prediction_of(), "block": (16, 32, 32), **options}
    with pytest.raises(InputError, match=message):
        predict_volume(stored, tmp_path / "maps.zarr", **given)


def test_stores_that_do_not_fit(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "maps.zarr"
    create_zarr(out, (2, 8, 8, 8), np.uint8, (1, 8, 8, 8))
    with pytest.raises(InputError, match=r"exists already, and no maps.zarr.work says how it was made"):
        predict_volume(stored, out, prediction_of(), block=(16, 32, 32))
    predict_volume(stored, tmp_path / "gone.zarr", prediction_of(), block=(23, 50, 61))
    (tmp_path / "gone.zarr").rename(tmp_path / "moved.zarr")
    with pytest.raises(InputError, match=r"says that blocks are done, but .*gone.zarr is gone"):
        predict_volume(stored, tmp_path / "gone.zarr", prediction_of(), block=(23, 50, 61))
    (tmp_path / "moved.zarr").rename(tmp_path / "aside.zarr")
    create_zarr(tmp_path / "gone.zarr", (2, 8, 8, 8), np.uint8, (1, 8, 8, 8))
    with pytest.raises(InputError, match=r"an array already, uint8 of shape \(2, 8, 8, 8\)"):
        predict_volume(stored, tmp_path / "gone.zarr", prediction_of(), block=(23, 50, 61))


def test_voxels_that_are_no_numbers(tmp_path: Path) -> None:
    image = image_of().astype(np.float32)
    image[20, 40, 3] = np.nan
    write_volume(tmp_path / "image.h5", image)
    for number, options in enumerate([{}, {"intensity_range": (0, 4000)}]):
        with pytest.raises(InputError, match=r"image.h5::main: 1 NaN or infinite voxels within z "):
            out = tmp_path / f"maps_{number}.zarr"
            predict_volume(tmp_path / "image.h5", out, prediction_of(**options), block=(16, 32, 32))


def test_several_workers_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch, stored: Path, tmp_path: Path) -> None:
    monkeypatch.setattr("scripts.blockwise.predict.device_of", lambda _: torch.device("cuda"))
    with pytest.raises(InputError, match=r"workers: found 2 on cuda, expected 1"):
        predict_volume(stored, tmp_path / "maps.zarr", prediction_of(), schedule=Schedule(2))


# ---- through the config ----------------------------------------------------------------------------------------------
CONVOLUTION = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "kernel_size": 3, "padding": 1}
CONVOLUTION |= {"out_channels": "$1 + @representation.channels"}


@pytest.fixture
def run_blockwise(run_here: Run, volumes: Path, tmp_path: Path) -> Run:
    """Run inference.yaml with overlays and a network of one convolution."""

    def run(*overlays: str, run_id: str = "inference", **overrides: Any) -> None:
        given = {"image": volumes / "imageY.tif", "output_dir": tmp_path / "out", "model_path": tmp_path / "model.pt"}
        if "blockwise" in overlays:
            given["block"] = [16, 64, 64]
        run_here(run_id, "inference", *overlays, **{**given, "network_def": CONVOLUTION, **overrides})

    return run


def weights(path: Path, maps: int, map_names: Sequence[str] = ()) -> None:
    torch.manual_seed(0)
    engine = Engine(lambda *_: None)
    engine.state.rank = 0
    WeightsSaver(str(path), nn.Conv3d(1, 1 + maps, 3, padding=1), map_names=map_names)(engine)


@pytest.mark.parametrize(
    ("overlay", "names"),
    [
        ([], ["foreground", "contour", "distance"]),
        (["target_bc"], ["foreground", "contour"]),
        (["target_affinity"], ["affinity 1", "affinity 2", "affinity 3"]),
    ],
)
def test_the_overlay_predicts_what_inference_predicts(
    overlay: list[str], names: list[str], run_blockwise: Run, tmp_path: Path
) -> None:
    weights(tmp_path / "model.pt", len(names))
    run_blockwise(*overlay, "blockwise")
    run_blockwise(*overlay)
    maps = open_volume(tmp_path / "out" / "maps.zarr", ndim=4)
    assert maps.channel_names == ["image", *names]
    off = np.abs(maps[:].astype(int) - read_maps(tmp_path / "out" / "imageY_maps.h5")[0])
    assert off.max() <= 1 and (off > 0).mean() < 1e-4


def test_the_overlay_hands_the_maps_to_the_decoder(volumes: Path, tmp_path: Path) -> None:
    weights(tmp_path / "model.pt", 2)
    given: list[Path] = []

    class Decoder:
        def check(self) -> None:
            """Nothing to see."""

        def __call__(self, maps: Path, schedule: Schedule, voxel_factor: float) -> None:
            given.append(maps)

    network = nn.Conv3d(1, 3, 3, padding=1)
    files = (str(volumes / "imageY.tif"), str(tmp_path / "maps.zarr"), network, str(tmp_path / "model.pt"))
    for shard, times in ((1, 0), (0, 1)):
        work = {"block": (16, 32, 32), "shard": shard, "shards": 2, "decode": Decoder()}
        with pytest.raises(SystemExit, match="75") if shard else nullcontext():
            BlockwiseInference(*files, MAPS, inferer_of(), **work).run()
        assert given == [tmp_path / "maps.zarr"] * times


@pytest.mark.parametrize(
    ("overlays", "options", "message"),
    [
        (["evaluate", "blockwise"], {"run_id": "evaluating"}, "expected one of the two"),
        (["blockwise", "evaluate"], {"run_id": "evaluating"}, "expected one of the two"),
        (["blockwise"], {"run_id": "evaluating"}, "expected one of the two"),
        (["blockwise"], {"image": "nowhere.zarr"}, "nowhere.zarr: no such file"),
        (["blockwise"], {"image": "bundle"}, "no such file|is a folder"),
        (["blockwise"], {"maps": "maps.h5"}, "maps: found maps.h5, expected a Zarr store"),
        (["blockwise"], {"model_path": "nothing.pt"}, "nothing.pt: no such file"),
        (["blockwise"], {"representation#maps#0": {"_target_": "scripts.representation.Affinity"}}, "the decoder"),
        (["blockwise"], {"block": [4, 64, 64]}, "block: found .4, 64, 64., expected at least"),
        (["blockwise"], {"shard": 2, "shards": 2}, "a shard from 0 to the number of shards - 1"),
    ],
)
def test_what_cannot_be_done_is_said(
    overlays: list[str], options: dict[str, Any], message: str, run_blockwise: Run, volumes: Path, tmp_path: Path
) -> None:
    weights(tmp_path / "model.pt", 3)
    label = {"label": volumes / "labelY.tif"} if "evaluate" in overlays else {}
    with pytest.raises(Exception) as raised:
        run_blockwise(*overlays, **label, **options)
    error = expected_error(raised.value)
    assert error is not None and re.search(message, str(error)), raised.value
    assert not (tmp_path / "out").exists()


def test_several_volumes_are_refused(run_blockwise: Run, volumes: Path, tmp_path: Path) -> None:
    weights(tmp_path / "model.pt", 3)
    with pytest.raises(Exception) as raised:
        run_blockwise("blockwise", image=volumes / "image*.tif")
    assert "image: found 3 volumes, blockwise.yaml expects one" in str(expected_error(raised.value))


def test_weights_for_other_maps_are_refused(run_blockwise: Run, tmp_path: Path) -> None:
    weights(tmp_path / "model.pt", 3, ["affinity"])
    with pytest.raises(Exception) as raised:
        run_blockwise("blockwise")
    assert "was trained for the maps affinity, expected foreground" in str(expected_error(raised.value))
