"""Volumes cut into blocks: the labels are those of the whole, whoever works on them and however often he is killed."""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from operator import floordiv
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scripts.blockwise import label as label_module
from scripts.blockwise.__main__ import main
from scripts.blockwise.folder import WorkFolder
from scripts.blockwise.label import LabelWork
from scripts.blockwise.plan import fitting_block, window_bytes
from scripts.blockwise.run import UnfinishedError
from scripts.blockwise.schedule import Schedule
from scripts.blockwise.seed import SeedWork
from scripts.blockwise.table import check_table, write_table
from scripts.blockwise.volume import label_volume
from scripts.command.start import start
from scripts.errors import InputError
from scripts.metrics.measure import join, measure
from scripts.representation import Affinity
from scripts.volume_io import create_zarr, downsample_labels, open_volume, pyramid_factors, read_maps, write_volume
from scripts.volume_io.grid import Grid, shape_of
from scripts.watershed import (
    AffinityWatershed,
    BCDWatershed,
    BCWatershed,
    affinity_watershed,
    bc_watershed,
    bcd_watershed,
)

from test_watershed import noisy_maps

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
SHAPE = (30, 64, 70)
BLOCKS = [(30, 64, 70), (16, 32, 32), (11, 23, 29), (30, 8, 70)]
SMALL = {"min_instance_size": 100}
HALO = (2, 4, 4)
REAL_MAPS = [
    ((32, 80, 80), 2, (4, 8, 8)),
    ((64, 160, 160), 1, HALO),
    ((64, 48, 100), 4, (16, 32, 32)),
    ((17, 33, 41), 1, HALO),
]
LONG = pytest.mark.long


def stored(folder: Path, maps: np.ndarray, names: tuple[str, ...] = ("foreground", "contour", "distance")) -> Path:
    """Maps as a Zarr store whose chunks fit none of the blocks."""
    path = folder / "maps.zarr"
    store = create_zarr(path, maps.shape, maps.dtype, (1, 13, 20, 20), (2.0, 1.0, 1.0), names)
    store[tuple(slice(0, size) for size in maps.shape)] = maps
    return path


def read(path: Path) -> np.ndarray:
    volume = open_volume(path)
    return volume[tuple(slice(0, size) for size in volume.shape)]


@pytest.fixture(scope="module")
def pred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("maps"), noisy_maps(0, SHAPE))


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    maps = noisy_maps(0, SHAPE)
    labels = bcd_watershed(maps, **SMALL)
    with_gaps, _ = bcd_watershed(maps, return_seeds=True, **SMALL)
    assert 20 < labels.max() < with_gaps.max()  # there are small ones that were dropped
    return labels


def of_seeds(path: Path) -> np.ndarray:
    """Labels of a decoding whose work folder was kept, with the ids of the seeds."""
    kept = WorkFolder(f"{path}.work").load("kept", 0)["ids"]
    return np.append(0, kept)[read(path)]


# ---- the labels ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("workers", "block"),
    [
        *((1, block) for block in BLOCKS[:2]),
        (2, BLOCKS[1]),
        *(pytest.param(workers, block, marks=LONG) for workers in (1, 2) for block in BLOCKS[2:]),
    ],
)
def test_labels_are_those_of_the_whole(pred: Path, whole: np.ndarray, tmp_path: Path, block: Any, workers: int) -> None:
    out, schedule = tmp_path / "o.ome.zarr", Schedule(workers)
    found = label_volume(pred, out, BCDWatershed(**SMALL), block=block, halo=HALO, schedule=schedule)
    np.testing.assert_array_equal(read(out), whole)
    assert found.instances == np.count_nonzero(np.unique(whole))
    assert found.certain == 1
    assert not (tmp_path / "o.ome.zarr.work").exists()


@pytest.mark.parametrize("given", [(2, "local"), pytest.param((4,), marks=LONG)])
def test_four_workers_and_a_dask_cluster_give_the_same(
    given: tuple[Any, ...], pred: Path, whole: np.ndarray, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    out, schedule = tmp_path / "o.ome.zarr", Schedule(*given)
    label_volume(pred, out, BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO, schedule=schedule)
    np.testing.assert_array_equal(read(out), whole)


@pytest.fixture(scope="module")
def predicted(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Maps that models/model.pt, trained on other volumes, predicts of a part of a real one: unsure and speckled."""
    folder = tmp_path_factory.mktemp("predicted")
    image = open_volume(shared / "data/nucexm/v4_image.tif")
    write_volume(folder / "part.tif", image[:64, :160, :160], image.voxel_size)
    flags = ["--image", str(folder / "part.tif"), "--output_dir", str(folder), "--overlap", "0.25"]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml", *flags]
    subprocess.run(command, cwd=BUNDLE, check=True, capture_output=True)
    return next(folder.glob("*_maps.h5"))


@pytest.mark.parametrize(
    ("block", "workers", "halo"),
    [pytest.param(*given, marks=LONG) for given in REAL_MAPS],
)
def test_real_maps_give_the_labels_of_the_whole(
    predicted: Path, tmp_path: Path, block: Any, workers: int, halo: Any
) -> None:
    out, schedule = tmp_path / "o.zarr", Schedule(workers)
    found = label_volume(predicted, out, BCDWatershed(**SMALL), block=block, halo=halo, schedule=schedule)
    whole = bcd_watershed(read_maps(predicted)[0][-3:], **SMALL)
    assert found.instances == len(np.unique(whole)) - 1 > 50
    assert found.certain == 1
    np.testing.assert_array_equal(read(out), whole)


def random_maps_and_blocks(tmp_path_factory: pytest.TempPathFactory, seed: int, block: tuple[int, ...]) -> None:
    folder, shape = tmp_path_factory.mktemp("random"), (14, 20, 22)
    maps = noisy_maps(seed, shape)
    pred, decoder = stored(folder, maps), BCDWatershed(**SMALL)
    found = label_volume(pred, folder / "o.zarr", decoder, block=block, halo=(1, 1, 1), max_halo=shape)
    assert found.certain == 1  # a halo of the whole volume leaves no doubt
    np.testing.assert_array_equal(read(folder / "o.zarr"), bcd_watershed(maps, **SMALL))


SEEDS_AND_BLOCKS = given(st.integers(0, 1000), st.tuples(st.integers(7, 14), st.integers(10, 20), st.integers(10, 20)))
A_FEW, MANY = (settings(max_examples=count, phases=[Phase.generate]) for count in (2, 30))  # without shrinking: minutes
test_a_few_random_maps_and_blocks = A_FEW(SEEDS_AND_BLOCKS(random_maps_and_blocks))
test_many_random_maps_and_blocks = LONG(MANY(SEEDS_AND_BLOCKS(random_maps_and_blocks)))


@pytest.mark.parametrize("height", ["distance", pytest.param("foreground", marks=LONG)])
def test_other_thresholds_and_small_instances_that_stay(pred: Path, tmp_path: Path, height: str) -> None:
    options = {
        "mask_foreground": 0.5,
        "mask_distance": -0.5,
        "min_seed_size": 5,
        "small_mode": "none",
        "height": height,
    }
    label_volume(pred, tmp_path / "o.zarr", BCDWatershed(**options), block=(16, 32, 32), halo=HALO)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), bcd_watershed(noisy_maps(0, SHAPE), **options))


def test_foreground_and_contour_alone(tmp_path: Path) -> None:
    maps = noisy_maps(1, SHAPE)[:2]
    pred = stored(tmp_path, maps, ("foreground", "contour"))
    label_volume(pred, tmp_path / "o.zarr", BCWatershed(**SMALL), block=(16, 32, 32), halo=HALO)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), bc_watershed(maps, **SMALL))


def test_affinities_after_a_translated_image(tmp_path: Path) -> None:
    labels = bcd_watershed(noisy_maps(2, SHAPE), min_instance_size=0).astype(np.uint16)
    maps = (255 * gaussian_filter(Affinity().encode(labels), (0, 0.5, 1, 1))).astype(np.uint8)
    pred = stored(tmp_path, np.concatenate([maps[:1], maps]), ("image", "affinity 1", "affinity 2", "affinity 3"))
    options = {"seed_affinity": 0.8, "min_seed_size": 5, "min_instance_size": 30}
    label_volume(pred, tmp_path / "o.zarr", AffinityWatershed(**options), block=(16, 32, 32), halo=HALO)
    expected = affinity_watershed(maps, **options)
    assert expected.any()
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), expected)


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=LONG)])
def test_floats_of_any_number_of_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    rng = np.random.default_rng(0)
    maps = (noisy_maps(3, SHAPE) / 255 + rng.uniform(0, 1e-4, (3, *SHAPE))).clip(0, 1).astype(dtype)
    monkeypatch.setattr("scripts.watershed.pipeline.LEVELS", 100)
    expected = bcd_watershed(maps, **SMALL)
    pred = stored(tmp_path, maps)
    label_volume(pred, tmp_path / "o.zarr", BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO, unit=True)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), expected)


def test_a_halo_that_may_not_grow_leaves_doubt(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    found = label_volume(
        pred, tmp_path / "o.zarr", BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO, max_halo=HALO, keep=True
    )
    folder, grid = WorkFolder(tmp_path / "o.zarr.work"), Grid.of(SHAPE, (16, 32, 32))
    uncertain = sum(int(folder.load("labels", block)["uncertain"]) for block in range(len(grid)))
    assert 0 < uncertain < 0.5 * whole.size
    assert 1 - found.certain == pytest.approx(int(folder.load("summary", 0)["uncertain"]) / whole.size)
    # the guess is a good one: what differs is less than what was in doubt
    expected, _ = bcd_watershed(noisy_maps(0, SHAPE), return_seeds=True, **SMALL)
    assert np.count_nonzero(of_seeds(tmp_path / "o.zarr") != expected) <= uncertain


def maze(seed: int, shape: tuple[int, ...] = (4, 20, 40)) -> np.ndarray:
    """Maps of narrow winding objects, so that floods reach some voxels by ways that lie outside a block."""
    rng = np.random.default_rng(seed)
    ground = gaussian_filter(rng.random(shape), (1, 1.2, 1.2))
    inside = ground > np.quantile(ground, 0.6)
    seeds = np.zeros(shape, bool)
    seeds.flat[rng.choice(np.flatnonzero(inside), 6, replace=False)] = True
    foreground = np.where(inside, 255 - rng.integers(0, 4, shape), 0)
    return np.stack([foreground, np.where(seeds, 0, 255), np.where(inside, 255, 0)]).astype(np.uint8)


@pytest.mark.parametrize("affinities", [False, True])
def test_no_more_voxels_differ_than_are_called_uncertain(affinities: bool, tmp_path: Path) -> None:
    kind = AffinityWatershed if affinities else BCDWatershed
    limits: dict[str, Any] = {"block": (4, 20, 20), "halo": (1, 2, 2), "max_halo": (1, 2, 2)}
    beyond = 0  # what is wrong and was in no doubt before small instances were dropped
    for seed in range(3):
        (folder := tmp_path / str(seed)).mkdir()
        maps, names = maze(seed), ("foreground", "contour", "distance")
        if affinities:  # of the weakest and the strongest the first decides the seeds, the second the mask
            maps, names = np.stack([maps[0], maps[0], 255 - maps[1]]), ("affinity 1", "affinity 2", "affinity 3")
        pred = stored(folder, maps, names)
        sizes = np.bincount(kind(min_seed_size=1, min_instance_size=0)(maps).ravel())[1:]
        for least in {0, *sizes.tolist()}:  # at these sizes a voxel more or less decides
            decoder, out = kind(min_seed_size=1, min_instance_size=least), folder / f"{least}.zarr"
            found = label_volume(pred, out, decoder, keep=True, **limits)
            whole, _ = decoder.decode(maps, return_seeds=True, **decoder.options)
            differing = np.count_nonzero(of_seeds(out) != whole)
            assert differing <= round((1 - found.certain) * whole.size) < whole.size
            work = WorkFolder(f"{out}.work")
            beyond += differing > sum(int(work.load("labels", block)["uncertain"]) for block in range(2))
    assert beyond


def test_nothing_in_the_maps_gives_no_instance(tmp_path: Path) -> None:
    pred = stored(tmp_path, np.zeros((3, 8, 9, 10), np.uint8))
    assert label_volume(pred, tmp_path / "o.zarr", BCDWatershed(), block=(4, 4, 4), halo=(1, 1, 1)).instances == 0
    assert not read(tmp_path / "o.zarr").any()
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 1


def test_scale_factors_of_1_as_yaml_gives_them_are_none(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    decoder = BCDWatershed(scale_factors=[1, 1, 1], **SMALL)
    label_volume(pred, tmp_path / "o.zarr", decoder, block=(16, 32, 32), halo=HALO)
    np.testing.assert_array_equal(read(tmp_path / "o.zarr"), whole)


# ---- numbers too large for 32 bits -----------------------------------------------------------------------------------
def test_first_voxels_and_ids_beyond_32_bits(tmp_path: Path) -> None:
    # a sparse volume of 8.6 · 10^9 voxels, of which two blocks are looked at
    shape, block = (2048, 2048, 2048), (8, 2048, 2048)
    maps = create_zarr(tmp_path / "m.zarr", (3, *shape), np.uint8, (1, 8, 256, 256))
    last = len(Grid.of(shape, block)) - 1
    grid = Grid.of(shape, block)
    box = (slice(2042, 2046), slice(2000, 2010), slice(2030, 2040))
    maps[(slice(0, 1), *box)] = np.full((1, 4, 10, 10), 255, np.uint8)
    maps[(slice(2, 3), *box)] = np.full((1, 4, 10, 10), 255, np.uint8)
    folder = WorkFolder(tmp_path / "work")
    seeds = create_zarr(tmp_path / "s.zarr", shape, np.uint32, (8, 256, 256))
    from scripts.blockwise.source import Maps

    work = SeedWork(grid, Maps(tmp_path / "m.zarr", BCDWatershed), BCDWatershed.recipe(), seeds, folder)
    work(last)
    first = folder.load("seeds", last)["first"][1]
    assert first == (2042 * 2048 + 2000) * 2048 + 2030 > 2**32
    labels = create_zarr(tmp_path / "l.zarr", shape, np.uint64, (8, 256, 256))
    doubt = create_zarr(tmp_path / "d.zarr", shape, np.uint8, (8, 256, 256))
    big = 2**40 + 1
    folder.save("ids", last, {"ids": np.array([0, big])})
    folder.save("ids", last - 1, {"ids": np.array([0])})
    LabelWork(grid, work.maps, work.recipe, seeds, labels, doubt, folder, [(1, 1, 1)])(last)
    assert np.unique(labels[box]).tolist() == [big]
    assert folder.load("labels", last)["ids"].tolist() == [big]


# ---- stopped, killed, shared -----------------------------------------------------------------------------------------
def command(pred: Path, out: Path, *flags: str) -> list[str]:
    flags = ("--block", "11,23,29", "--halo", "2,4,4", "--min_instance_size", "100", *flags)
    return [sys.executable, "-m", "scripts.blockwise", "--pred", str(pred), "--out", str(out), *flags]


def test_what_is_finished_is_not_done_again(
    pred: Path, whole: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, done = tmp_path / "o.zarr", []
    flood = label_module.flood_block

    def failing(*given: Any, **options: Any) -> Any:
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt
        return flood(*given, **options)

    monkeypatch.setattr(label_module, "flood_block", failing)
    with pytest.raises(KeyboardInterrupt):
        label_volume(pred, out, BCDWatershed(**SMALL), block=(16, 32, 32), halo=(16, 32, 32))
    assert not out.exists()
    label_volume(pred, out, BCDWatershed(**SMALL), block=(16, 32, 32), halo=(16, 32, 32))
    assert len(done) == 5 + (12 - 4)  # of 12 blocks 4 were done when the fifth failed
    np.testing.assert_array_equal(read(out), whole)


@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=LONG)])
def test_killed_at_any_moment_the_result_is_the_same(
    moments: int, pred: Path, whole: np.ndarray, tmp_path: Path
) -> None:
    rng, out, kills = random.Random(0), tmp_path / "o.zarr", 0
    while kills < moments:
        # in a group of its own, so that workers can be killed and not the tests
        run = subprocess.Popen(
            command(pred, out, "--workers", "2"), cwd=BUNDLE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        time.sleep(rng.uniform(0.5, 4))
        if run.poll() is None:
            victim = rng.choice(children(run.pid) or [run.pid])
            with suppress(ProcessLookupError):  # it may just have ended by itself
                os.kill(victim, signal.SIGKILL)
                if victim == run.pid or rng.random() < 0.5:
                    os.killpg(run.pid, signal.SIGKILL)
            kills += 1
        message = run.communicate(timeout=60)[1]
        finished = out.exists() and not Path(f"{out}.work").exists()
        assert finished or run.returncode != 0, message
        if finished:  # begin anew
            np.testing.assert_array_equal(read(out), whole)
            subprocess.run(["rm", "-r", str(out), str(out.with_suffix(".csv"))], check=True)
    subprocess.run(command(pred, out), cwd=BUNDLE, check=True, capture_output=True)
    np.testing.assert_array_equal(read(out), whole)


def test_a_run_killed_when_its_labels_had_just_been_moved_is_finished_by_the_next(
    pred: Path, whole: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace = tmp_path / "o.zarr", os.replace

    def replace_and_die(source: Any, target: Any) -> None:
        replace(source, target)
        if Path(target) == out:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace_and_die)
    with pytest.raises(KeyboardInterrupt):
        label_volume(pred, out, BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO)
    monkeypatch.undo()
    found = label_volume(pred, out, BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO)
    assert found.instances == np.count_nonzero(np.unique(whole))
    np.testing.assert_array_equal(read(out), whole)
    assert not Path(f"{out}.work").exists()


def children(pid: int) -> list[int]:
    """Workers of a run: its children but for the resource tracker of multiprocessing."""
    try:
        found = psutil.Process(pid).children()
        return [child.pid for child in found if "resource_tracker" not in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def test_a_dead_worker_is_told_in_one_line(pred: Path, tmp_path: Path) -> None:
    run = subprocess.Popen(
        command(pred, tmp_path / "o.zarr", "--workers", "2"), cwd=BUNDLE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(workers := children(run.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(workers[0], signal.SIGKILL)
    message = run.communicate(timeout=60)[1]
    assert run.returncode == 1
    assert "a worker died" in message.splitlines()[-1]
    assert "Traceback" not in message


def test_a_defect_in_a_worker_is_told_in_one_line_and_none_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    schedule = Schedule(workers=2)

    def main() -> None:
        with schedule.running():
            schedule.run("a stage", partial(floordiv, 1), [1, 0], lambda block: 1)

    with pytest.raises(SystemExit) as ended:
        start(main, [])
    assert multiprocessing.active_children() == []
    line = str(ended.value.code)
    assert line.startswith("error: ZeroDivisionError: integer division or modulo by zero, in a worker. Details: ")
    assert "Traceback" in Path(line.rpartition("Details: ")[2]).read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_workers_end_with_a_run_that_is_killed() -> None:
    """As at the end of memory, or of a job's time; asleep or at work."""
    code = (
        "import time; from scripts.blockwise.schedule import Schedule\n"
        "if __name__ == '__main__':\n    schedule = Schedule(workers=2)\n"
        "    with schedule.running(): schedule.run('a stage', time.sleep, [0, 900], lambda block: 1)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=BUNDLE, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(workers := children(run.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1)  # until they have begun
    run.kill()
    run.wait()
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(workers) == 2
    assert not [worker for worker in workers if psutil.pid_exists(worker)]


def test_shards_wait_for_each_other_and_give_the_same(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    out, decoder, rounds = tmp_path / "o.zarr", BCDWatershed(**SMALL), 0
    options: dict[str, Any] = {"block": (16, 32, 32), "halo": HALO}
    while not out.exists():
        for shard in (2, 1, 0):
            try:
                label_volume(pred, out, decoder, schedule=Schedule(shard=shard, shards=3), **options)
            except UnfinishedError as later:
                assert "left to" in str(later)
        rounds += 1
        assert rounds < 12
    np.testing.assert_array_equal(read(out), whole)
    late = [label_volume(pred, out, decoder, schedule=Schedule(shard=n, shards=3), **options) for n in range(3)]
    assert {found.instances for found in late} == {np.count_nonzero(np.unique(whole))}  # those that come last see it


def test_an_unfinished_shard_ends_with_its_own_status(pred: Path, tmp_path: Path) -> None:
    flags = ("--shard", "1", "--shards", "2")
    run = subprocess.run(command(pred, tmp_path / "o.zarr", *flags), cwd=BUNDLE, capture_output=True, text=True)
    assert run.returncode == 75
    assert "Give the same command again" in run.stderr


def test_two_runs_of_one_output_are_refused(pred: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    folder = WorkFolder(f"{out}.work")
    with folder.locked("shard_0_of_1"), pytest.raises(InputError, match="another run works on this output"):
        label_volume(pred, out, BCDWatershed(), block=(16, 32, 32), halo=HALO)


def test_the_lock_of_a_killed_process_does_not_hold(tmp_path: Path) -> None:
    code = "import sys; from scripts.blockwise.folder import WorkFolder\n"
    code += f"with WorkFolder({str(tmp_path)!r}).locked(): print('locked', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=BUNDLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
    with pytest.raises(InputError, match="another run works"), WorkFolder(tmp_path).locked():
        pass
    holder.kill()
    holder.communicate()
    with WorkFolder(tmp_path).locked():
        pass


# ---- bad input -------------------------------------------------------------------------------------------------------
def test_a_run_is_not_continued_with_other_settings(pred: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    with pytest.raises(UnfinishedError):
        label_volume(pred, out, BCDWatershed(), block=(16, 32, 32), halo=HALO, schedule=Schedule(shard=1, shards=2))
    with pytest.raises(InputError, match=r"seed_foreground: 0.9 there, 0.8 now"):
        label_volume(pred, out, BCDWatershed(seed_foreground=0.8), block=(16, 32, 32), halo=HALO)


def test_a_store_that_changed_its_shape_is_told(tmp_path: Path) -> None:
    pred, out = stored(tmp_path, noisy_maps(0, SHAPE)), tmp_path / "o.zarr"
    options: dict[str, Any] = {"block": (16, 32, 32), "halo": HALO}
    with pytest.raises(UnfinishedError):
        label_volume(pred, out, BCDWatershed(), schedule=Schedule(shard=1, shards=2), **options)
    subprocess.run(["rm", "-r", str(pred)], check=True)
    stored(tmp_path, noisy_maps(0, (30, 64, 71)))
    with pytest.raises(InputError, match=r"shape: \[30, 64, 70\] there, \[30, 64, 71\] now"):
        label_volume(pred, out, BCDWatershed(), **options)


def test_a_damaged_result_names_its_file(pred: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.zarr"
    with pytest.raises(UnfinishedError):
        label_volume(pred, out, BCDWatershed(), block=(16, 32, 32), halo=HALO, schedule=Schedule(shard=1, shards=2))
    damaged = Path(f"{out}.work", "seeds", "00000001.npz")
    damaged.write_bytes(damaged.read_bytes()[:50])
    with pytest.raises(InputError, match=r"00000001.npz cannot be read.*its block is redone"):
        label_volume(pred, out, BCDWatershed(), block=(16, 32, 32), halo=HALO)
    damaged.unlink()
    label_volume(pred, out, BCDWatershed(), block=(16, 32, 32), halo=HALO)
    np.testing.assert_array_equal(read(out), bcd_watershed(noisy_maps(0, SHAPE)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "o.tif"}, "expected a name ending in .zarr"),
        ({"block": (0, 4, 4)}, "three whole numbers"),
        ({"halo": (1, 2)}, "three voxels"),
        ({"halo": (4, 4, 4), "max_halo": (2, 2, 2)}, "the second no less"),
        ({"decoder": BCDWatershed(small_mode="neighbor")}, "expected background or none"),
        ({"decoder": BCDWatershed(ties="heap")}, "ties: cannot be changed"),
        ({"decoder": BCDWatershed(scale_factors=(1, 2, 2))}, "scale_factors: cannot be changed"),
        ({"decoder": BCWatershed()}, "holds foreground, contour, distance; expected foreground, contour"),
        ({"table": "t.txt"}, "ending in .csv or .parquet"),
        ({"decoder": BCDWatershed(scale_factors=[1, 1, 2])}, "scale_factors: cannot be changed"),
    ],
)
def test_what_does_not_fit_is_named_before_any_work(pred: Path, tmp_path: Path, change: dict, message: str) -> None:
    chosen = {"out": "o.zarr", "decoder": BCDWatershed(), "block": (16, 32, 32), "halo": HALO, **change}
    with pytest.raises(InputError, match=message):
        label_volume(pred, tmp_path / chosen.pop("out"), chosen.pop("decoder"), **chosen)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["o.zarr", "o.csv"])
def test_an_output_or_a_table_that_exists_is_kept(pred: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=rf"{name} exists already"):
        label_volume(pred, tmp_path / "o.zarr", BCDWatershed())


def test_floats_have_to_say_their_scale_and_other_integers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    pred = stored(tmp_path / "f", noisy_maps(0, SHAPE).astype(np.float32))
    with pytest.raises(InputError, match="say --unit true"):
        label_volume(pred, tmp_path / "o.zarr", BCDWatershed())
    pred = stored(tmp_path, noisy_maps(0, SHAPE).astype(np.uint16))
    with pytest.raises(InputError, match="values of type uint16; expected uint8"):
        label_volume(pred, tmp_path / "o.zarr", BCDWatershed())


def test_schedules_that_cannot_be(tmp_path: Path) -> None:
    for wrong in ({"workers": 0}, {"shard": 2, "shards": 2}, {"shard": -1}):
        with pytest.raises(InputError, match="expected a worker or more"):
            Schedule(**wrong)
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no Dask scheduler answers"), Schedule(scheduler="nothing").running():
        pass


# ---- the parts -------------------------------------------------------------------------------------------------------
def test_a_grid_covers_the_volume_once() -> None:
    grid = Grid.of((10, 7, 9), (4, 7, 5))
    count = np.zeros(grid.shape, int)
    for block in range(len(grid)):
        count[grid.core(block)] += 1
        assert grid.number(grid.position(block)) == block
        assert block in grid.touching(grid.core(block))
    assert (count == 1).all()
    assert len(grid) == 6
    assert shape_of(grid.window(0, (1, 1, 1))) == (5, 7, 6)
    assert [step for _, step in grid.forward_neighbours(0)] == [(0, 0, 1), (1, 0, 0), (1, 0, 1)]


def test_measures_of_two_blocks_join_to_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (6, 8, 9)).astype(np.uint32) * 1000
    maps = rng.integers(0, 256, (3, *labels.shape)).astype(np.uint8)
    everything = (slice(0, 6), slice(0, 8), slice(0, 9))
    together = join([measure(labels, maps, everything, labels.shape)])
    parts = []
    for z in (slice(0, 4), slice(4, 6)):
        parts.append(measure(labels[z], maps[:, z], (z, *everything[1:]), labels.shape))
    for name, column in join(parts).items():
        np.testing.assert_allclose(column, together[name])
    assert together["ids"].tolist() == [1000, 2000, 3000]
    for row, id_ in enumerate(together["ids"]):
        mask = labels == id_
        assert together["voxels"][row] == mask.sum()
        assert together["foreground"][row] == maps[0][mask].sum()
        np.testing.assert_allclose(together["position"][row], np.argwhere(mask).sum(axis=0))
        np.testing.assert_array_equal(together["start"][row], np.argwhere(mask).min(axis=0))
        np.testing.assert_array_equal(together["stop"][row], np.argwhere(mask).max(axis=0) + 1)


def test_the_table_says_what_the_labels_show(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    label_volume(pred, tmp_path / "o.zarr", BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO)
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert [int(row["id"]) for row in rows] == np.unique(whole)[1:].tolist()
    maps = noisy_maps(0, SHAPE)
    labels, seeds = bcd_watershed(maps, return_seeds=True, **SMALL)
    for row, own in zip(rows[:10], np.unique(labels)[1:], strict=False):
        mask = whole == int(row["id"])
        assert int(row["voxels"]) == mask.sum()
        assert float(row["mean_foreground"]) == pytest.approx(maps[0][mask].mean() / 255, rel=1e-4)
        assert float(row["mean_contour"]) == pytest.approx(maps[1][mask].mean() / 255, rel=1e-4)
        seed = seeds == own
        assert int(row["seed_voxels"]) == np.count_nonzero(seed)
        assert float(row["seed_strength"]) == pytest.approx(maps[0][seed].mean() / 255, rel=1e-4)
        assert float(row["x_centroid"]) == pytest.approx(np.argwhere(mask)[:, 2].mean(), rel=1e-4)


def test_lower_resolutions_are_those_of_the_whole(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "o.ome.zarr"
    label_volume(pred, out, BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO)
    factors = pyramid_factors(SHAPE, (2.0, 1.0, 1.0), open_volume(out).chunks)
    assert factors == [(1, 1, 1), (1, 2, 2)]
    level = whole.astype(np.uint32)
    for number, (before, now) in enumerate(itertools.pairwise(factors), 1):
        level = downsample_labels(level, [b // a for a, b in zip(before, now, strict=True)])
        found = open_volume(f"{out}::{number}")
        np.testing.assert_array_equal(found[...], level)
        assert found.voxel_size == tuple(np.multiply((2.0, 1.0, 1.0), now))


def test_a_table_is_written_without_a_copy_of_it(tmp_path: Path) -> None:
    ones = np.ones(5000)
    found = dict.fromkeys(("voxels", "border", "foreground", "contour", "seed_voxels"), ones.astype(np.int64))
    found |= dict.fromkeys(("start", "stop", "position"), np.ones((5000, 3), np.int64))
    found |= {"ids": np.arange(5000, dtype=np.uint64) + np.uint64(2**63), "seed_foreground": ones / 3}
    tracemalloc.start()
    write_table(tmp_path / "t.csv", found, ("foreground", "contour"), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].startswith("id,voxels,z_start") and len(lines) == 5001
    assert lines[2] == "9223372036854775809,1,1,1,1,1,1,1,1,1,1,1,1,1,1,0.333333"
    assert peak < 16 * ones.nbytes  # columns, of which about half are made for the table


def test_a_table_may_be_parquet(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = tmp_path / "t.parquet"
    label_volume(pred, tmp_path / "o.zarr", BCDWatershed(**SMALL), block=(16, 32, 32), halo=HALO, table=table)
    assert parquet.read_table(table)["id"].to_pylist() == np.unique(whole)[1:].tolist()


def test_parquet_without_its_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        check_table(Path("t.parquet"))


def test_blocks_shrink_until_they_fit_the_memory() -> None:
    block = fitting_block((1000, 1000, 1000), (16, 32, 32), 3, 1, 1e9, (128, 256, 256))
    assert window_bytes(block, (16, 32, 32), 3) <= 1e9 < window_bytes((128, 256, 256), (16, 32, 32), 3) + 5e8
    with pytest.raises(InputError, match=r"found 0.4 GB .* need"):
        fitting_block((1000, 1000, 1000), (64, 128, 128), 3, 1, 4e8, (128, 256, 256))


def test_floats_are_planned_with_the_memory_of_floats() -> None:
    block, halo = (128, 256, 256), (16, 32, 32)
    assert window_bytes(block, halo, 3, 4) > window_bytes(block, halo, 3) + 5e8


# ---- the command -----------------------------------------------------------------------------------------------------
def test_a_plan_does_nothing(pred: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main(str(pred), str(tmp_path / "o.zarr"), block=(16, 32, 32), halo=HALO, plan=True)
    printed = capsys.readouterr().out
    assert "12 blocks of 16×32×32" in printed
    assert "GB for each worker" in printed
    assert not list(tmp_path.iterdir())


def test_too_little_memory_is_refused_with_advice(pred: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs .* GB, --memory is 0.352. Give --block"):
        main(str(pred), str(tmp_path / "o.zarr"), block=(30, 64, 70), halo=HALO, memory=0.352)


def test_unknown_flags_and_targets_are_named(pred: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found flag --seed_forground, expected .*--seed_foreground"):
        main(str(pred), str(tmp_path / "o.zarr"), seed_forground=0.5)
    with pytest.raises(InputError, match="found --target bcx"):
        main(str(pred), str(tmp_path / "o.zarr"), target="bcx")


def test_the_command_says_what_it_found(pred: Path, whole: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "o.ome.zarr"
    run = subprocess.run(command(pred, out), cwd=BUNDLE, capture_output=True, text=True, check=True)
    count = np.count_nonzero(np.unique(whole))
    assert f"{count} instances in {out}; 100.0000 % of the voxels certain" in run.stdout
    assert (tmp_path / "o.csv").exists()
    assert "voxels/s" in run.stderr
    np.testing.assert_array_equal(read(out), whole)


# ---- a full disk -----------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_told_and_a_rerun_goes_on(pred: Path, whole: np.ndarray, small_disk: Path) -> None:
    earlier, out = small_disk / "earlier.csv", small_disk / "o.zarr"
    earlier.write_text("kept")
    run = subprocess.run(command(pred, out), cwd=BUNDLE, capture_output=True, text=True)
    assert run.returncode == 1
    assert "cannot be written" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert not out.exists()
    assert earlier.read_text() == "kept"
    done = len(list(Path(f"{out}.work").rglob("*.npz")))
    assert done > 0
    subprocess.run(["mount", "-o", "remount,size=50M", str(small_disk)], check=True)
    again = subprocess.run(command(pred, out), cwd=BUNDLE, capture_output=True, text=True, check=True)
    assert "blocks are done already" in again.stderr
    np.testing.assert_array_equal(read(out), whole)
