"""On a GPU, where there is one: training, float16, going on, maps and exported networks, all as on a CPU."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from scripts.check.overlay import configuration
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.example import write_pair
from scripts.export import ExportedNetwork
from scripts.export.__main__ import main as export
from scripts.judge import predictor_of
from scripts.judge.candidate import judge_model
from scripts.judge.volume import volume_crops
from scripts.metrics import match_instances
from scripts.trainer import CySGANTrainer
from scripts.volume_io import read_maps, read_volume

from conftest import CONFIGS
from test_trainer import batch, build, real_networks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
MAPS = ["foreground", "contour", "distance"]
Run = Callable[..., Any]


@pytest.fixture
def train(run_here: Run, volumes: Path, tmp_path: Path) -> Run:
    def run(*overlays: str, **overrides: Any) -> Any:
        files = {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif"}
        files |= {"image_y": volumes / "imageY.tif", "output_dir": tmp_path, "model_path": tmp_path / "model.pt"}
        workflow = run_here("training", "train", *overlays, **{**files, **overrides})
        return workflow.parser.get_parsed_content("train::trainer")

    return run


def losses(folder: Path) -> dict[str, float]:
    with open(folder / "losses.csv", newline="") as file:
        return {name: float(value) for name, value in list(csv.DictReader(file))[-1].items() if value}


# ---- training --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("amp", "tolerance"), [(False, 1e-2), (True, 5e-2)])
def test_terms_of_a_step_are_those_of_the_cpu(amp: bool, tolerance: float) -> None:
    """Convolutions of float32 run in TF32 on a GPU: ten bits, as float16 has."""
    here, there = real_networks(), {name: network.cuda() for name, network in real_networks().items()}
    first = build(here, [batch(size=2)], pool_size=0)
    second = build(there, [batch(size=2)], pool_size=0, amp=amp, device="cuda")
    for trainer in (first, second):
        torch.manual_seed(0)
        trainer.run()
    assert second.loss_scaler.is_enabled() == amp
    for name, value in first.state.output.items():
        found = second.state.output[name]
        assert float(found) == pytest.approx(float(value), rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize("amp", [False, True])
def test_training_runs_and_goes_on_with_the_same_random_streams(train: Run, tmp_path: Path, amp: bool) -> None:
    """The losses are not compared: a GPU adds in another order each time, and a few iterations of Adam spread that."""
    whole = train(amp=amp, max_iterations=6)
    assert whole.state.iteration == 6 and whole.state.device.type == "cuda"
    assert all(np.isfinite(value) for value in losses(tmp_path).values())
    path = tmp_path / "checkpoint_0000006.pt"
    uninterrupted = torch.load(path, weights_only=True)
    path.unlink()
    assert train(amp=amp, max_iterations=6, resume=True).state.iteration == 6
    resumed = torch.load(path, weights_only=True)
    streams, streams_expected = (content["random"] for content in (resumed, uninterrupted))
    assert len(streams["cuda"]) == torch.cuda.device_count()
    assert all(map(torch.equal, streams["cuda"], streams_expected["cuda"]))
    assert torch.equal(streams["torch"], streams_expected["torch"])


def test_what_a_gpu_trained_goes_on_on_a_cpu(train: Run, tmp_path: Path) -> None:
    train(max_iterations=2)
    trainer = train(max_iterations=4, resume=True, device="$torch.device('cpu')")
    assert (trainer.state.iteration, trainer.state.device.type) == (4, "cpu")


def test_a_number_that_overflows_float16_does_not_end_the_training() -> None:
    """The scaler leaves the step out and halves its scale, where float32 would have been stopped for infinity."""
    networks = {name: network.cuda() for name, network in real_networks().items()}
    trainer: CySGANTrainer = build(networks, [batch(i, 2) for i in range(3)], amp=True, device="cuda", check_interval=1)
    trainer.loss_scaler = torch.amp.GradScaler("cuda", init_scale=2.0**40)
    trainer.run()
    assert trainer.state.iteration == 3
    assert trainer.loss_scaler.get_scale() < 2.0**40
    assert all(torch.isfinite(p).all() for network in networks.values() for p in network.parameters())


def test_one_process_of_torchrun_by_nccl(volumes: Path, tiny: Path, tmp_path: Path) -> None:
    configs = [str(CONFIGS / "train.yaml"), str(CONFIGS / "multi_gpu_train.yaml"), str(tiny)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    command += ["-m", "monai.bundle", "run", "training", "--config_file", str(configs)]
    files = {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif"}
    files |= {"image_y": volumes / "imageY.tif", "output_dir": tmp_path, "model_path": tmp_path / "model.pt"}
    files |= {"bundle_root": CONFIGS.parent}
    for key, value in files.items():
        command += [f"--{key}", str(value)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert (tmp_path / "model.pt").is_file()


# ---- prediction ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("amp", [False, True])
def test_maps_and_instances_are_those_of_the_cpu(tmp_path: Path, amp: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    write_pair(tmp_path, shape=(32, 96, 96))
    for device in ("cpu", "cuda"):
        workflow = ConfigWorkflow(
            config_file=str(CONFIGS / "inference.yaml"),
            run_id="run",
            logging_file=False,
            bundle_root=str(CONFIGS.parent),
            image=str(tmp_path / "imageY.tif"),
            output_dir=str(tmp_path / device),
            device=f"$torch.device('{device}')",
            amp=amp and device == "cuda",
        )
        workflow.initialize()
        workflow.run()
    first, second = (read_maps(tmp_path / device / "imageY_maps.h5")[0].astype(int) for device in ("cpu", "cuda"))
    assert first[1].max() > 200
    assert np.abs(first - second).mean() < (1.0 if amp else 0.2)
    truth, found = (read_volume(tmp_path / device / "imageY_instances.tif")[0] for device in ("cpu", "cuda"))
    assert truth.max() > 10
    matching = match_instances(truth, found)
    assert matching.true_positives >= 0.9 * len(np.unique(truth[truth > 0]))


@pytest.mark.parametrize("kind", ["ts", "onnx"])
def test_an_exported_network_gives_its_maps_on_the_gpu(kind: str, tmp_path: Path) -> None:
    """ONNX too where onnxruntime is the one of the GPU; else it runs on the CPU, and the answer comes back."""
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    export(str(tmp_path / f"model.{kind}"))
    found = ExportedNetwork().to("cuda").eval()
    load_weights(found, tmp_path / f"model.{kind}", MAPS)
    network: Any = configuration("inference", []).get_parsed_content("network_def").cuda().eval()
    load_weights(network, CONFIGS.parent / "models" / "model.pt", MAPS)
    volume = (torch.rand(1, 1, 16, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1).cuda()
    with torch.no_grad():
        maps, expected = found.maps(volume), network(volume)[:, 1:]
    assert maps.device.type == "cuda"
    assert (maps.sigmoid() - expected.sigmoid()).abs().max() < 1e-2


def test_a_model_is_judged_on_the_gpu_as_on_a_cpu(volumes: Path) -> None:
    predictor = predictor_of(str(BUNDLE / "models" / "model.pt"))
    assert predictor.part("device").type == "cuda"
    crops = volume_crops(str(volumes / "imageY.tif"), (16, 64, 64), 1)
    found = judge_model(predictor, [crops])
    assert 0 <= found.score.value <= 1
    assert len(found.tally.f1) == 3
