"""Two processes on the CPU: the training of one with twice the batch, checkpoints, maps; and none waits for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
from scripts.checkpoint import list_checkpoints
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.inferer import WindowGrid, slabs
from scripts.processes import gathered, join_processes
from scripts.volume_io import read_volume
from torch import Tensor

import rank
from conftest import end, started_by_torchrun
from test_trainer import NETWORKS, real_networks
from warm import cold

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
EPS = 1e-8  # of AdamW


@pytest.fixture(scope="module")
def folder(torchrun: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two processes of rank.py left what they found."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun(Path(rank.__file__), folder, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[Any]:
    """What each of them found."""
    return [torch.load(folder / f"rank_{i}.pt", weights_only=True) for i in range(rank.PROCESSES)]


def one_process(found: list[Any], name: str) -> Any:
    """What one of the two found without the other."""
    return next(process[name] for process in found if name in process)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.double().flatten() for tensor in tensors])


# ---- the single process that they equal ------------------------------------------------------------------------------
def gradient_tolerance(dtype: torch.dtype) -> float:
    """How far gradients may be apart, as a share of their norm.

    Both trainings do the same arithmetic sample by sample: norms are those of a sample, losses are means over equal
    batches, and halves, of the mean over twice as many and of the average over two, are exact in floating point. What
    differs is the order in which sums are taken: over samples in the gradient of a weight, and within a sample where
    torch takes another kernel for another batch size. A sum of n terms in any order is off by u sqrt(n) of its size
    (the probabilistic bound of Higham and Mary, 2019; u is the unit roundoff, n here at most the voxels of all
    samples), and every operation that a gradient passes through adds as much: each parameter's, forwards and backwards,
    in both generators of a cycle. The losses themselves are worked out in float32 in any case, from logits that differ
    by less than float32 can tell.
    """
    operations = 4 * len(list(real_networks()["generator_xy"].parameters()))
    terms = rank.PROCESSES * rank.BATCH * 8 * 16 * 16
    return operations * terms**0.5 * torch.finfo(dtype).eps / 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_of_all_five_networks_are_those_of_one_process_with_both_batches(
    found: list[Any], dtype: torch.dtype
) -> None:
    whole = one_process(found, f"one {dtype}")["gradients"]
    half = found[0]["half"]["gradients"]
    tolerance = gradient_tolerance(dtype)
    assert tolerance < (1e-11 if dtype == torch.float64 else 5e-3)
    for name in NETWORKS:
        one, (first, second) = flat(whole[name]), (flat(process[str(dtype)]["gradients"][name]) for process in found)
        assert torch.equal(first, second), name
        assert (first - one).norm() < tolerance * one.norm(), name
        assert (flat(half[name]) - one).norm() > 0.05 * one.norm(), name  # one process alone is far from it


def test_parameters_after_three_steps_are_those_of_one_process_with_both_batches(
    found: list[Any],
) -> None:
    """In float64: AdamW moves a parameter by rate * m / (sqrt(v) + eps).

    So an error d of a gradient, which is at most the tolerance times its norm, moves a parameter off by rate * d / eps,
    where the gradient is far below eps; elsewhere by less. In float32 that is more than a step, and says nothing.
    """
    whole, start = one_process(found, "one torch.float64"), real_networks()
    for name in NETWORKS:
        one = flat(whole["parameters"][name])
        first, second = (flat(process["torch.float64"]["parameters"][name]) for process in found)
        norm = float(flat(whole["gradients"][name]).norm())
        tolerance = whole["rates"][name] * gradient_tolerance(torch.float64) * norm / EPS
        assert torch.equal(first, second), name
        assert (first - one).abs().max() < tolerance, name
        assert (flat(list(start[name].parameters())) - one).abs().max() > 20 * tolerance, name
    averages = [process["torch.float64"]["parameters"]["average"] for process in found]
    torch.testing.assert_close(flat(averages[0]), flat(whole["parameters"]["average"]), rtol=0, atol=1e-9)
    assert torch.equal(flat(averages[0]), flat(averages[1]))


def test_in_bfloat16_both_processes_have_the_same_networks_and_near_those_of_float32(
    found: list[Any],
) -> None:
    """bfloat16 has 8 bits: a gradient is off by some hundredths, and not by the half that a missing average is."""
    first, second = (process["bfloat16"] for process in found)
    for name in NETWORKS:
        assert torch.equal(flat(first["parameters"][name]), flat(second["parameters"][name])), name
        exact, near = (flat(found[0][kind]["gradients"][name]) for kind in ("torch.float32", "bfloat16"))
        assert 1e-5 * exact.norm() < (near - exact).norm() < 0.1 * exact.norm(), name


# ---- checkpoints -----------------------------------------------------------------------------------------------------
def test_a_training_of_two_processes_goes_on_as_if_it_had_not_been_interrupted(found: list[Any]) -> None:
    """With noise, image pools and batches of each process's own: to the last bit."""
    first, second = (process["resumed"] for process in found)
    for run in (first, second):
        whole, resumed = run["whole"], run["resumed"]
        assert (whole["begun"], resumed["begun"]) == (0, 2)
        for name in NETWORKS:
            assert all(torch.equal(v, resumed["networks"][name][k]) for k, v in whole["networks"][name].items()), name
        assert all(map(torch.equal, pooled(whole), pooled(resumed)))
        assert torch.equal(whole["next"], resumed["next"])
    assert not torch.equal(first["whole"]["next"], second["whole"]["next"])
    assert not any(map(torch.equal, pooled(first["whole"]), pooled(second["whole"])))


def pooled(run: dict[str, Any]) -> list[Tensor]:
    return [sample for name in sorted(run["pools"]) for sample in run["pools"][name]]


def test_one_file_holds_what_each_of_two_processes_has_for_itself(found: list[Any], folder: Path) -> None:
    assert [path.name for path in list_checkpoints(folder / "checkpoints")] == [
        "checkpoint_0000002.pt",
        "checkpoint_0000004.pt",
    ]
    content = torch.load(folder / "checkpoints" / "checkpoint_0000004.pt", weights_only=True)
    assert not [
        key for name, part in content.items() if name.startswith("network/") for key in part if "module." in key
    ]
    [other] = content["other_processes"]
    assert set(other) == {"random", "pool/discriminator_x", "pool/discriminator_y", "pool/discriminator_s"}
    own = found[1]["resumed"]["resumed"]["pools"]["discriminator_x"]
    assert torch.equal(other["pool/discriminator_x"]["samples"][0], own[0])
    assert not torch.equal(content["pool/discriminator_x"]["samples"][0], own[0])
    assert not torch.equal(content["random"]["torch"], other["random"]["torch"])


def test_of_several_scores_that_of_rank_0_decides_which_checkpoint_is_the_best(found: list[Any], folder: Path) -> None:
    assert found[0]["best"] == found[1]["best"] == [0.5, 0.5, 0.7]
    content = torch.load(folder / "best" / "best.pt", weights_only=True)
    assert (content["iteration"], content["best_score"], len(content["other_processes"])) == (6, 0.7, 1)


def test_rank_0_is_given_what_every_process_has(found: list[Any]) -> None:
    assert found[0]["gathered"] == [{"rank": [torch.tensor(0)]}, {"rank": [torch.tensor(1)]}]
    assert found[1]["gathered"] == []


def test_a_process_alone_has_what_it_has() -> None:
    assert gathered({"a": 1}) == [{"a": 1}]


# ---- maps ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", rank.INFERERS)
def test_maps_made_by_two_processes_are_those_of_one_to_the_last_bit(name: str, found: list[Any]) -> None:
    first, second = (process["maps"][name] for process in found)
    assert torch.equal(first, one_process(found, "one maps")[name])
    assert second.shape == (*first.shape[:2], 0, 0, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
@pytest.mark.parametrize(
    ("shape", "size", "overlap"),
    [((40, 20, 24), (8, 16, 16), 0.5), ((9, 9, 200), (9, 9, 16), 0.75), ((5, 5, 5), (5, 5, 5), 0.5)],
)
def test_slabs_cover_a_volume_once_and_share_its_windows_evenly(
    shape: tuple[int, int, int], size: tuple[int, int, int], overlap: float, count: int
) -> None:
    padding = (2, 2, 2)
    grid = WindowGrid.of([n + 4 for n in shape], size, [overlap] * 3)
    boxes = slabs(grid, shape, padding, count)
    covered = np.zeros(shape, int)
    for box in boxes:
        covered[box] += 1
    assert len(boxes) == count
    assert (covered == 1).all()
    work = [
        len(grid.overlapping([slice(side.start + 2, side.stop + 2) for side in box])) if covered[box].size else 0
        for box in boxes
    ]
    layers = len(grid) / max(map(len, grid.starts))
    if len(grid) / layers >= 4 * count:  # enough to be shared
        assert max(work) - min(work) <= 2 * layers


# ---- the commands ----------------------------------------------------------------------------------------------------
SMOOTH = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 3, "padding": 1}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Weights of `SMOOTH`: maps of the mean grey value of 27 voxels, which differ at the border of a window."""
    network = torch.nn.Conv3d(1, 4, 3, padding=1)
    gains = torch.tensor([1.0, 20.0, -20.0, 3.0]) / 27
    network.weight.data = gains.view(4, 1, 1, 1, 1).expand(4, 1, 3, 3, 3).contiguous()
    network.bias.data = torch.tensor([0.0, 0.0, -10.0, 0.0])
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def arguments(run_id: str, *configs: str | Path, **overrides: object) -> list[str]:
    files = [str(BUNDLE / "configs" / f"{name}.yaml" if isinstance(name, str) else name) for name in configs]
    given = {"bundle_root": BUNDLE, "device": "$torch.device('cpu')", **overrides}
    flags = [item for key, value in given.items() for item in (f"--{key}", str(value))]
    return ["-m", "monai.bundle", "run", run_id, "--config_file", str(files), *flags]


def test_two_processes_segment_and_score_as_one_does(
    torchrun: Callable[..., str], run_here: Callable[..., Any], volumes: Path, model: Path, tiny: Path, tmp_path: Path
) -> None:
    files: dict[str, Any] = {"image": volumes / "imageY.tif", "label": volumes / "labelY.tif", "model_path": model}
    files |= {"network_def": SMOOTH, "window": [8, 32, 32]}
    one, two = tmp_path / "one", tmp_path / "two"
    configs = ("inference", "evaluate", "multi_gpu_inference", tiny)
    said = torchrun(*arguments("evaluating", *configs, output_dir=two, **files), cwd=tmp_path)
    assert "maps, process 1 of 2: 100%" in said
    run_here("evaluating", "inference", "evaluate", output_dir=one, **files)
    names = ["imageY_instances.tif", "imageY_maps.h5", "metrics.csv", "metrics.json"]
    assert sorted(path.name for path in two.iterdir()) == names
    instances = [read_volume(folder / "imageY_instances.tif")[0] for folder in (one, two)]
    assert instances[0].max() >= 10
    np.testing.assert_array_equal(*instances)
    with h5py.File(one / "imageY_maps.h5") as first, h5py.File(two / "imageY_maps.h5") as second:
        np.testing.assert_array_equal(first["main"][()], second["main"][()])
    assert json.loads((one / "metrics.json").read_text()) == json.loads((two / "metrics.json").read_text())


def test_a_process_that_is_killed_ends_the_training_of_all(volumes: Path, tiny: Path, tmp_path: Path) -> None:
    files: dict[str, Any] = {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif"}
    files |= {"image_y": volumes / "imageY.tif", "output_dir": tmp_path / "out", "model_path": tmp_path / "model.pt"}
    files |= {"max_iterations": 100000, "epoch_length": 1000, "validation_interval": 100}
    command = arguments("training", "train", "multi_gpu_train", tiny, **files)
    with cold(), started_by_torchrun(command, tmp_path) as launcher:
        try:
            until(lambda: list_checkpoints(tmp_path / "out"), launcher)
            processes = psutil.Process(launcher.pid).children(recursive=True)
            [second] = [process for process in processes if process.environ().get("RANK") == "1"]
            second.kill()
            said = launcher.communicate(timeout=60)[0]
        finally:
            if launcher.poll() is None:
                end(launcher)
    assert launcher.returncode != 0
    assert "SIGKILL" in said
    assert "[rank0]: Traceback" not in said
    assert not [process for process in processes if process.is_running() and process.status() != "zombie"]
    torch.load(list_checkpoints(tmp_path / "out")[-1], weights_only=True)


def until(done: Callable[[], Any], launcher: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert launcher.poll() is None, launcher.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)


# ---- how they meet ---------------------------------------------------------------------------------------------------
@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """That of torchrun, for a process alone."""
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize("overlay", ["multi_gpu_train", "multi_gpu_inference"])
def test_an_overlay_for_several_processes_without_torchrun_says_so(
    overlay: str, environment: pytest.MonkeyPatch, run_here: Callable[..., Any]
) -> None:
    environment.delenv("RANK")
    base = "train" if overlay.endswith("train") else "inference"
    with pytest.raises(RuntimeError) as raised:
        run_here("training" if base == "train" else "run", base, overlay, device="$torch.device('cpu')")
    assert "found no RANK in the environment, expected that of torchrun" in str(expected_error(raised.value))


def test_more_processes_than_gpus_are_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="found 1 GPUs, expected one for each process, and this one wants cuda:1"):
        join_processes("cuda:1")
    assert not dist.is_initialized()


def test_a_process_waits_as_long_as_it_is_told(environment: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    environment.setattr(dist, "init_process_group", lambda *args, **options: begun.append((args, options)))
    join_processes("cpu", timeout_minutes=2.5)
    assert begun == [(("gloo",), {"timeout": timedelta(minutes=2.5)})]
