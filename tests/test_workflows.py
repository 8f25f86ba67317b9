"""The commands that a user types, on small volumes: training, resuming, inference, evaluation, decoding again."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from scripts.command.start import expected_error
from scripts.example import write_pair
from scripts.metrics import match_instances
from scripts.trainer import UNPUBLISHED
from scripts.volume_io import open_volume, read_channel_names, read_maps, read_volume
from scripts.watershed.__main__ import main as watershed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from warm import cold

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
VOXEL_SIZE = (2.0, 1.0, 0.5)
# The maps are functions of the grey value: image, foreground, contour and distance, all known beforehand.
POINTWISE = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
Run = Callable[..., Any]


def bundle_command(launcher: list[str], run_id: str, configs: list[Path], cwd: Path, **overrides: object) -> str:
    """Run a command as a user does, from another folder; return all that it printed."""
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", run_id]
    command += ["--config_file", str([str(path) for path in configs])]
    for key, value in overrides.items():
        command += [f"--{key}", str(value)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle in a folder of its own, nothing of the checkout around it."""
    folder = tmp_path_factory.mktemp("elsewhere") / "cysgan"
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("__pycache__", "models", "outputs", "eval", "data"))
    return folder


@pytest.fixture(scope="module")
def trained(
    copied: Path, volumes: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str, list[str]]:
    """Training by the command: two volumes of X by patterns, two of Y as a list, Y's labels given."""
    foreign = tmp_path_factory.mktemp("foreign")
    out = tmp_path_factory.mktemp("training") / "out"
    with cold():
        said = bundle_command(
            [],
            "training",
            [copied / "configs" / "train.yaml", tiny],
            foreign,
            bundle_root=copied,
            output_dir=out,
            image_x=volumes / "imageX_*.tif",
            label_x=volumes / "labelX_*.tif",
            image_y=[f"{volumes / 'volumeY.h5'}::grey/raw", str(volumes / "stackY.nii.gz")],
            label_y=[str(volumes / "labelY.tif")] * 2,
        )
    return out, said, [path.name for path in foreign.iterdir()]


def test_training_writes_checkpoints_weights_and_losses(trained: tuple[Path, str, list[str]], copied: Path) -> None:
    out, said, left = trained
    assert sorted(path.name for path in out.glob("*.pt")) == [
        "checkpoint_0000002.pt",
        "checkpoint_0000004.pt",
        "source_only.pt",
    ]
    content = torch.load(out / "checkpoint_0000004.pt", weights_only=True)
    networks = {name.partition("/")[2] for name in content if name.startswith("network/")}
    assert networks == {"generator_xy", "generator_yx", "discriminator_x", "discriminator_y", "discriminator_s"}
    weights = torch.load(copied / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(weights[name], value) for name, value in content["averaged_generator_yx"].items())
    with open(out / "losses.csv", newline="") as file:
        [row] = csv.DictReader(file)
    terms = "adversarial_x adversarial_y cycle_x cycle_y segmentation_x segmentation_rec_x structure adversarial_s"
    assert {*terms.split(), "adversarial_s_rec", "discriminator_s", "identity_x", "loss"} <= {*row}
    assert row["iteration"] == "4"
    [events] = out.glob("events.out.tfevents*")  # TensorBoard reads no second one that is written at the same time
    shown = EventAccumulator(str(events)).Reload()
    losses = {f"loss/{name}" for name in row if name not in ("iteration", "identity_x")}
    assert losses <= {*shown.Tags()["scalars"]}
    assert shown.Tags()["images"] == ["panel/cycle_x", "panel/cycle_y"]
    assert {"validation/x_ap50", "validation/y_with_labels_ap50"} <= {*shown.Tags()["scalars"]}
    assert [point.step for point in shown.Scalars("learning_rate/generator_yx")] == [4]
    assert len({*shown.Tags()["scalars"], *shown.Tags()["images"]}) == len(shown.Tags()["scalars"]) + 2
    assert sorted(path.name for path in (out / "panels").iterdir()) == [
        "cycle_x_0000002.jpg",
        "cycle_x_0000004.jpg",
        "cycle_y_0000004.jpg",
    ]
    assert left == []  # nothing in the working directory
    assert "training: 100%" in said


def test_the_configuration_that_a_training_leaves_repeats_it(
    trained: tuple[Path, str, list[str]], copied: Path, tmp_path: Path
) -> None:
    out, _, _ = trained
    [run] = json.loads((out / "run.json").read_text())["runs"]
    assert run["command"].startswith("python -m monai.bundle run training --config_file \"['")
    assert (run["seed"], run["last_iteration"], run["warm_up_iterations"]) == (0, 4, 2)
    assert run["volumes"]["label_x"].endswith("labelX_*.tif") and len(run["volumes"]["label_y"]) == 2
    files = {"output_dir": tmp_path / "again", "model_path": tmp_path / "again.pt"}
    bundle_command([], "training", [out / "configuration.yaml"], tmp_path, **files)
    assert (tmp_path / "again" / "losses.csv").read_bytes() == (out / "losses.csv").read_bytes()
    folders = (out, tmp_path / "again")
    first, again = (torch.load(folder / "source_only.pt", weights_only=True) for folder in folders)
    assert all(torch.equal(first[name], value) for name, value in again.items() if isinstance(value, torch.Tensor))


def test_validation_on_y_is_logged_and_marked(trained: tuple[Path, str, list[str]]) -> None:
    lines = trained[1].splitlines()
    metrics = [line.partition("Metrics -- ")[2] for line in lines if "Metrics -- " in line]
    assert [line.split("ap50:")[0] for line in metrics] == ["x_", "y_with_labels_"] * 2


def test_the_copied_bundle_evaluates_by_the_command(
    trained: tuple[Path, str, list[str]], copied: Path, volumes: Path, tiny: Path, tmp_path: Path
) -> None:
    configs = [copied / "configs" / "inference.yaml", copied / "configs" / "evaluate.yaml", tiny]
    said = bundle_command(
        [],
        "evaluating",
        configs,
        tmp_path,
        bundle_root=copied,
        output_dir=tmp_path / "out",
        image=[f"{volumes / 'volumeY.h5'}::grey/raw", str(volumes / "stackY.nii.gz")],
        label=[str(volumes / "labelY.tif")] * 2,
    )
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "metrics.csv",
        "metrics.json",
        "stackY_instances.tif",
        "stackY_maps.h5",
        "volumeY_grey_raw_instances.tif",
        "volumeY_grey_raw_maps.h5",
    ]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["present"] == 12
    assert len(metrics["volumes"]) == 2
    assert {"ap50", "ap75", "f1_50", "found", "dice"} <= {*metrics}
    assert "maps: 100%" in said
    # the file's type and format make no difference
    first, second = (read_maps(tmp_path / "out" / f"{name}_maps.h5")[0] for name in ("volumeY_grey_raw", "stackY"))
    assert np.array_equal(first, second)


# ---- inference in this process, with maps that are known -------------------------------------------------------------
@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = nn.Conv3d(1, 4, 1)
    network.weight.data = torch.tensor([1.0, 20.0, -20.0, 3.0]).view(4, 1, 1, 1, 1)
    network.bias.data = torch.tensor([0.0, 0.0, -10.0, 0.0])
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize(
    ("image", "stem", "extension"),
    [
        ("imageY.tif", "imageY", ".tif"),
        ("volumeY.h5", "volumeY", ".nii.gz"),
        ("stackY.nii.gz", "stackY", ".h5"),
        ("storeY.ome.zarr", "storeY.ome", ".ome.zarr"),
    ],
)
def test_inference_writes_maps_and_instances_with_the_voxel_size(
    image: str, stem: str, extension: str, run_here: Run, volumes: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    files = {"image": volumes / image, "model_path": model, "output_dir": out, "output_ext": extension}
    run_here("inference", "inference", network_def=POINTWISE, **files)
    with h5py.File(out / f"{stem}_maps.h5") as file:
        assert list(file) == ["main"]
        assert (file["main"].shape, file["main"].dtype) == ((4, 32, 64, 64), np.uint8)
        assert file["main"].attrs["element_size_um"].tolist() == list(VOXEL_SIZE)
        translated, foreground, contour, distance = file["main"][()]
    grey, truth = read_volume(volumes / image)[0], read_volume(volumes / "labelY.tif")[0]
    low, high = np.percentile(grey, [0.5, 99.5])
    unit = np.clip((grey - low) / (high - low), 0, 1)
    assert np.abs(translated / 255 - (np.tanh(2 * unit - 1) + 1) / 2).max() < 2 / 255
    assert foreground[truth > 0].min() > 250 > 5 > foreground[truth == 0].max()
    assert contour[truth > 0].max() == 0
    assert distance[truth > 0].min() > 191  # beyond 0.5
    instances, voxel_size = read_volume(out / f"{stem}_instances{extension}")
    assert voxel_size == pytest.approx(VOXEL_SIZE)
    assert match_instances(truth, instances, 0.9).true_positives == 12

    watershed(str(out / f"{stem}_maps.h5"), str(tmp_path / "again.tif"))
    again, voxel_size = read_volume(tmp_path / "again.tif")
    assert np.array_equal(again, instances)
    assert voxel_size == pytest.approx(VOXEL_SIZE)


def test_evaluation_scores_what_inference_found(run_here: Run, volumes: Path, model: Path, tmp_path: Path) -> None:
    files = {"image": volumes / "imageY.tif", "label": volumes / "labelY.tif", "model_path": model}
    run_here("evaluating", "inference", "evaluate", network_def=POINTWISE, output_dir=tmp_path / "out", **files)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["ap50"], metrics["found"], metrics["present"]) == (1, 12, 12)
    with open(tmp_path / "out" / "metrics.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["volume"], float(row["f1_50"])) == ("labelY.tif", 1)


def test_a_scale_changes_what_the_network_sees_and_not_the_size_of_the_result(
    run_here: Run, volumes: Path, model: Path, tmp_path: Path
) -> None:
    files = {"image": volumes / "imageY.tif", "label": volumes / "labelY.tif", "model_path": model}
    settings: dict[str, Any] = {"scale": [1.0, 0.5, 0.5], "intensity_gamma": 0.5, "output_dir": tmp_path / "out"}
    workflow = run_here("evaluating", "inference", "evaluate", network_def=POINTWISE, **files, **settings)
    assert workflow.parser.get_parsed_content("inferer").scale == (1.0, 0.5, 0.5)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["ap50"], metrics["found"]) == (1, 12)
    instances, voxel_size = read_volume(tmp_path / "out" / "imageY_instances.tif")
    assert instances.shape == (32, 64, 64)
    assert voxel_size == pytest.approx(VOXEL_SIZE)
    [whole] = workflow.parser.get_parsed_content("dataset")
    grey = read_volume(volumes / "imageY.tif")[0]
    low, high = np.percentile(grey, [0.5, 99.5])
    unit = np.clip((grey - low) / (high - low), 0, 1)
    assert np.abs(whole["image"][0].numpy() - (2 * np.sqrt(unit) - 1)).max() < 1e-3


def test_inference_without_the_image_in_bfloat16_and_without_empty_windows_as_the_command_line_says(
    run_here: Run, volumes: Path, model: Path, tmp_path: Path
) -> None:
    files = {"image": volumes / "imageY.tif", "label": volumes / "labelY.tif", "model_path": model}
    settings = {"with_image": "false", "amp": "true", "empty_below": -0.9, "output_dir": tmp_path / "out"}
    workflow = run_here("evaluating", "inference", "evaluate", network_def=POINTWISE, **files, **settings)
    inferer = workflow.parser.get_parsed_content("inferer")
    assert (inferer.with_image, inferer.amp, inferer.empty_below) == (False, True, -0.9)
    with h5py.File(tmp_path / "out" / "imageY_maps.h5") as file:
        assert file["main"].shape == (3, 32, 64, 64)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["ap50"] == 1
    watershed(str(tmp_path / "out" / "imageY_maps.h5"), str(tmp_path / "again.tif"))
    instances = read_volume(tmp_path / "out" / "imageY_instances.tif")[0]
    assert np.array_equal(read_volume(tmp_path / "again.tif")[0], instances)


def test_the_copied_bundle_predicts_block_by_block_with_two_workers(
    copied: Path, run_here: Run, volumes: Path, model: Path, tiny: Path, tmp_path: Path
) -> None:
    files: dict[str, Any] = {"image": volumes / "imageY.tif", "model_path": model, "output_dir": tmp_path / "out"}
    configs = [copied / "configs" / f"{name}.yaml" for name in ("inference", "blockwise")]
    files["network_def"] = POINTWISE
    instances = tmp_path / "out" / "instances.ome.zarr"
    for workers in (2, 1):  # the second time no map is left to do
        shutil.rmtree(instances, ignore_errors=True)
        instances.with_name("instances.csv").unlink(missing_ok=True)
        said = bundle_command(
            [], "run", [*configs, tiny], tmp_path, bundle_root=copied, workers=workers, block=[16, 64, 64], **files
        )
    assert "predict: 2 blocks are done already" in said
    run_here("inference", "inference", **files)
    maps = open_volume(tmp_path / "out" / "maps.zarr", ndim=4)
    with h5py.File(tmp_path / "out" / "imageY_maps.h5") as file:
        off = np.abs(maps[:].astype(int) - file["main"][()])
    assert off.max() <= 1 and (off > 0).mean() < 1e-4
    assert maps.voxel_size == VOXEL_SIZE
    watershed(str(tmp_path / "out" / "maps.zarr"), str(tmp_path / "again.tif"), seed_distance=0.6)
    np.testing.assert_array_equal(open_volume(instances)[:], read_volume(tmp_path / "again.tif")[0])
    assert open_volume(instances).voxel_size == VOXEL_SIZE
    assert (tmp_path / "out" / "instances.csv").read_text().startswith("id,voxels,")
    with pytest.raises(AssertionError, match=r"instances.ome.zarr exists already. Remove it"):
        bundle_command([], "run", [*configs, tiny], tmp_path, bundle_root=copied, block=[16, 64, 64], **files)


# ---- training in this process ----------------------------------------------------------------------------------------
@pytest.fixture
def train(run_here: Run, volumes: Path, tmp_path: Path) -> Run:
    def run(*overlays: str, **overrides: Any) -> Any:
        files = {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif"}
        files |= {"image_y": volumes / "imageY.tif", "output_dir": tmp_path, "model_path": tmp_path / "model.pt"}
        return run_here("training", "train", *overlays, **{**files, **overrides})

    return run


def test_training_in_bfloat16_with_checkpointed_activations_and_no_dependence_on_the_window(
    train: Run, tmp_path: Path
) -> None:
    workflow = train("tile_independent", amp="true", **{"network_def::checkpoint_activations": True})
    trainer = workflow.parser.get_parsed_content("train::trainer")
    assert trainer.amp and trainer.state.iteration == 4
    network = workflow.parser.get_parsed_content("network_def")
    assert network.checkpoint_activations
    assert not any(isinstance(module, nn.GroupNorm) for module in network.modules())
    assert all(torch.isfinite(value).all() for value in torch.load(tmp_path / "model.pt", weights_only=True).values())


@pytest.mark.parametrize(
    ("overlay", "names"),
    [
        ("target_bc", ["foreground", "contour"]),
        ("target_affinity", ["affinity 1", "affinity 2", "affinity 3"]),
        ("target_distance_2d", ["foreground", "contour", "distance"]),
        ("target_distance_quantised", ["foreground", "contour", "distance"]),
    ],
)
def test_every_target_is_trained_segmented_and_decoded_again(
    overlay: str, names: list[str], train: Run, run_here: Run, volumes: Path, tmp_path: Path
) -> None:
    train(overlay, max_iterations=2, warm_up_iterations=1, holdout_fraction=0)
    files = {"image": volumes / "imageY.tif", "model_path": tmp_path / "model.pt", "output_dir": tmp_path / "y"}
    run_here("inference", "inference", overlay, **files)
    maps = tmp_path / "y" / "imageY_maps.h5"
    assert read_channel_names(maps) == ["image", *names]
    assert read_maps(maps)[0].shape == (1 + len(names), 32, 64, 64)
    target = {"target_bc": "bc", "target_affinity": "affinity"}.get(overlay, "bcd")
    watershed(str(maps), str(tmp_path / "again.tif"), target=target)
    instances = read_volume(tmp_path / "y" / "imageY_instances.tif")[0]
    assert np.array_equal(read_volume(tmp_path / "again.tif")[0], instances)


def test_weights_of_one_target_are_not_taken_for_another(
    train: Run, run_here: Run, volumes: Path, tmp_path: Path
) -> None:
    train("target_affinity", max_iterations=2, warm_up_iterations=2, holdout_fraction=0)
    files = {"image": volumes / "imageY.tif", "model_path": tmp_path / "model.pt", "output_dir": tmp_path / "y"}
    run_here("inference", "inference", **files)
    assert read_channel_names(tmp_path / "y" / "imageY_maps.h5")[1:] == ["affinity 1", "affinity 2", "affinity 3"]
    with pytest.raises(RuntimeError) as raised:
        run_here("inference", "inference", "target_bc", **files)
    assert "representation::maps: found 'Foreground, Contour', expected 'Affinity', with which" in str(
        expected_error(raised.value)
    )
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    del state._metadata[""]["plan"]  # as version 0.4 wrote it; the networks are the same, three channels each
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(RuntimeError) as raised:
        run_here("inference", "inference", **files)
    assert "was trained for the maps affinity, expected foreground, contour, distance" in str(
        expected_error(raised.value)
    )
    with pytest.raises(RuntimeError) as raised:
        train(resume=True, max_iterations=4, warm_up_iterations=2, holdout_fraction=0)
    assert "was trained for the maps affinity" in str(expected_error(raised.value))


def test_resume_goes_on_from_the_newest_whole_checkpoint(
    trained: tuple[Path, str, list[str]], train: Run, volumes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(trained[0], tmp_path / "out")
    newest = tmp_path / "out" / "checkpoint_0000004.pt"
    newest.write_bytes(newest.read_bytes()[:-2000])
    with caplog.at_level(logging.INFO):
        files: dict[str, Any] = {"image_x": volumes / "imageX_*.tif", "label_x": volumes / "labelX_*.tif"}
        files |= {"image_y": [str(volumes / "imageY.tif")] * 2, "output_dir": tmp_path / "out"}
        workflow = train(resume=True, max_iterations=6, warm_up_iterations=2, **files)
    assert any("checkpoint_0000004.pt: skipped, not a whole checkpoint" in message for message in caplog.messages)
    assert any(message.endswith("checkpoint_0000002.pt at iteration 2") for message in caplog.messages)
    trainer = workflow.parser.get_parsed_content("train::trainer")
    assert trainer.state.iteration == 6
    assert {name: schedule.last_epoch for name, schedule in trainer.schedules.items()} == {
        "warm_up": 2,
        **dict.fromkeys(trainer.networks, 4),
    }
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint_*"))
    assert kept == ["checkpoint_0000004.pt", "checkpoint_0000006.pt"]
    with open(tmp_path / "out" / "losses.csv", newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["6"]
    assert torch.load(tmp_path / "out" / "checkpoint_0000006.pt", weights_only=True)["iteration"] == 6
    shown = EventAccumulator(str(tmp_path / "out")).Reload()
    assert [point.step for point in shown.Scalars("validation/x_ap50")] == [2, 4, 6]
    assert [point.step for point in shown.Scalars("loss/cycle_x")] == [6]  # what was written beyond 2 is hidden
    assert [image.step for image in shown.Images("panel/cycle_x")] == [2, 4, 6]
    runs = json.loads((tmp_path / "out" / "run.json").read_text())["runs"]
    assert [(run["first_iteration"], run["last_iteration"]) for run in runs] == [(0, 4), (2, 6)]


def test_a_training_ends_at_max_iterations_within_an_epoch_with_all_its_files(
    train: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        workflow = train(max_iterations=3, epoch_length=2, validation_interval=5, checkpoint_interval=100)
    part = workflow.parser.get_parsed_content
    trainer, validator = part("train#trainer"), part("validate#evaluator")
    assert trainer.state.iteration == trainer.schedules["warm_up"].last_epoch + 1 == 3
    assert (validator.state.epoch, "x_ap50" in validator.state.metrics) == (2, True)
    assert [path.name for path in tmp_path.glob("checkpoint_*.pt")] == ["checkpoint_0000003.pt"]
    assert (tmp_path / "model.pt").is_file()
    with open(tmp_path / "losses.csv", newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["3"]
    [run] = json.loads((tmp_path / "run.json").read_text())["runs"]
    assert (run["iterations"], run["last_iteration"]) == (3, 3)


def test_what_is_left_to_train_on_is_padded_below_the_patch_and_that_is_said(
    train: Run, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Half of X is held out; a volume that is itself below the patch is refused, see test_check.py."""
    train(patch_size=[8, 40, 32], max_iterations=2, warm_up_iterations=0, validation_interval=2, holdout_fraction=0.5)
    assert sum("is below the patch (8, 40, 32); padded by reflection" in text for text in caplog.messages) == 1
    assert (tmp_path / "model.pt").exists()


def test_each_domain_is_trained_at_its_own_scale_and_with_its_own_exponent(train: Run, volumes: Path) -> None:
    scales = {"scale_x": [1.0, 0.5, 0.5], "scale_y": [0.5, 1.0, 1.0], "intensity_gamma_y": 0.5}
    sizes = {"patch_size": [8, 16, 16], "window": [8, 16, 16], "holdout_fraction": 0.25}
    workflow = train(label_y=volumes / "labelY.tif", **scales, **sizes)
    part = workflow.parser.get_parsed_content
    [source], [target], [held_out] = part("train#dataset"), part("train#target_dataset"), part("validate#dataset")
    assert source["image"].shape == source["label"].shape == (1, 32, 16, 32)  # y without what is held out, then halved
    assert held_out["image"].shape == held_out["label"].shape == (1, 32, 32, 64)  # a patch's 16 at half the resolution
    assert set(np.unique(source["label"])) <= set(range(13))
    assert target["image"].shape == (1, 16, 64, 64)
    assert float(target["image"].float().mean()) > float(source["image"].float().mean()) + 0.1
    assert part("validate#evaluator").state.metrics.keys() >= {"x_ap50"}
    assert part("validate_y#evaluator").state.metrics.keys() >= {"y_with_labels_ap50"}


def test_mlflow_is_told_of_every_term_the_settings_and_the_scores(train: Run, volumes: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    pytest.importorskip("alembic", reason="the extra mlflow is not installed")
    out = tmp_path / "new" / "folder"
    logged = {"iteration_log": "$lambda engine, iteration: True"}
    changed = {f"train::handlers::0::{name}": value for name, value in logged.items()}
    workflow = train("mlflow", output_dir=out, label_y=volumes / "labelY.tif", seed=3, **changed)
    client = mlflow.MlflowClient(tracking_uri=workflow.parser.get_parsed_content("tracking_uri"))
    [run] = client.search_runs([client.get_experiment_by_name("cysgan").experiment_id])
    assert run.info.status == "FINISHED"
    terms = {"loss", "segmentation_x", "identity_x", *workflow.parser["loss_weights"]} - {*UNPUBLISHED}
    terms |= {"discriminator_x", "discriminator_y", "discriminator_s", "learning_rate/warm_up"}
    scores = {"x_ap50", "x_dice", "y_with_labels_ap50"}
    assert terms | scores <= {*run.data.metrics}
    assert [point.step for point in client.get_metric_history(run.info.run_id, "cycle_x")] == [3, 4]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "x_ap50")] == [1, 2]
    with open(out / "losses.csv", newline="") as file:
        [row] = csv.DictReader(file)  # the mean over all iterations
    history = [point.value for point in client.get_metric_history(run.info.run_id, "cycle_x")]
    assert np.mean(history) == pytest.approx(float(row["cycle_x"]))
    expected = {"seed": "3", "max_iterations": "4", "processes": "1", "image_x": str(volumes / "imageX_0.tif")}
    assert expected.items() <= run.data.params.items()
    assert (out / "mlruns.db").is_file()


def test_without_mlflow_the_extra_is_named_before_training(
    train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(RuntimeError) as raised:
        train("mlflow", output_dir=tmp_path / "out")
    message = str(expected_error(raised.value))
    assert "not installed: mlflow" in message and "Install the extra `mlflow`: pip install mlflow-skinny" in message
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pt", ".csv", ".db")]


def test_two_processes_train_the_same_networks_on_patches_of_their_own(
    volumes: Path,
    tiny: Path,
    train: Run,
    torchrun: Callable[..., str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In bfloat16."""
    dump = "$torch.save({k: v.state_dict() for k, v in @networks.items()}, @output_dir + '/%d.pt' % {rank})"
    patch = "$torch.save(@train#patches[0], @output_dir + '/patch_%d.pt' % {rank})"
    dumps = [text.replace("{rank}", "torch.distributed.get_rank()") for text in (dump, patch)]
    overlay = {"+training": dumps, "num_workers": 0}
    (tmp_path / "dump.yaml").write_text(yaml.safe_dump(overlay))
    out = tmp_path / "out"
    files: dict[str, Any] = {"image_x": volumes / "imageX_*.tif", "label_x": volumes / "labelX_*.tif"}
    files |= {"image_y": volumes / "imageY.tif", "output_dir": out, "model_path": out / "model.pt"}
    options = {"bundle_root": BUNDLE, "device": "$torch.device('cpu')", "amp": "true", "max_iterations": 3, **files}
    flags = [item for name, value in options.items() for item in (f"--{name}", str(value))]
    names = [BUNDLE / "configs" / f"{name}.yaml" for name in ("train", "multi_gpu_train")]
    configs = str([str(path) for path in (*names, tiny, tmp_path / "dump.yaml")])
    said = torchrun("-m", "monai.bundle", "run", "training", "--config_file", configs, *flags, cwd=tmp_path)
    assert said.count("x_ap50") == 2  # one log, of two validations
    content = torch.load(out / "checkpoint_0000003.pt", weights_only=True)  # both end within their second epoch
    first, second = (torch.load(out / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name, network in first.items():
        stored = content[f"network/{name}"]
        assert {f"module.{key}" for key in stored} == {*network}
        for key, value in stored.items():
            assert torch.equal(value, network[f"module.{key}"])
            assert torch.equal(value, second[name][f"module.{key}"])
    assert not any(key.startswith("module.") for key in torch.load(out / "model.pt", weights_only=True))
    names = sorted(path.name for path in out.glob("*.pt") if not path.stem[-1:].isdigit() or "checkpoint" in path.stem)
    assert names == ["checkpoint_0000002.pt", "checkpoint_0000003.pt", "model.pt", "source_only.pt"]
    patches = [torch.load(out / f"patch_{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert not torch.equal(patches[0]["image_x"], patches[1]["image_x"])
    assert not torch.equal(patches[0]["image_y"], patches[1]["image_y"])
    # one process goes on where two have been, and says so
    del files["model_path"]
    workflow = train(resume=True, max_iterations=6, amp="true", **files)
    assert workflow.parser.get_parsed_content("train::trainer").state.iteration == 6
    assert any("number of processes then 2, now 1" in message for message in caplog.messages)


# ---- the weights in the repository -----------------------------------------------------------------------------------
def test_the_weights_that_are_shipped_segment_an_example_at_once(tmp_path: Path) -> None:
    """With inference.yaml alone; the pair is none that they were trained on."""
    write_pair(tmp_path, seed=999, shape=(40, 128, 128))
    with cold():
        bundle_command(
            [],
            "evaluating",
            [BUNDLE / "configs" / "inference.yaml", BUNDLE / "configs" / "evaluate.yaml"],
            tmp_path,
            bundle_root=BUNDLE,
            output_dir=tmp_path / "out",
            image=tmp_path / "imageY.tif",
            label=tmp_path / "labelY.tif",
        )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["f1_50"] > 0.3
    assert metrics["dice"] > 0.6


def test_the_weights_that_are_shipped_are_small() -> None:
    assert (BUNDLE / "models" / "model.pt").stat().st_size < 10e6
