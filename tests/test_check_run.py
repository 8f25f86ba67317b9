"""Bad input through the training and inference configs: one message, before any work, nothing written."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch
from ignite.engine import Engine
from monai.bundle import ConfigWorkflow
from scripts.check.run import check_decoder, check_folder, check_inference, check_training
from scripts.checkpoint import WeightsSaver
from scripts.command.start import expected_error, plain_errors
from scripts.errors import InputError
from scripts.representation import Foreground, Representation
from scripts.trainer.term import NonFiniteLossError
from scripts.volume_io import write_volume
from scripts.volume_io.files import load
from scripts.watershed import AffinityWatershed

Run = Callable[..., Any]
Said = Callable[..., str]
CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
SHAPE = (32, 64, 64)
IMAGE = np.random.default_rng(0).integers(1, 200, SHAPE).astype(np.uint8)
LABEL = np.zeros(SHAPE, np.uint16)
LABEL[4:12, 8:24, 8:24], LABEL[16:28, 30:50, 30:50] = 1, 2


def spoilt(array: np.ndarray, dtype: Any, value: float) -> np.ndarray:
    """`array` with one voxel of another value, in plane 3."""
    result = array.astype(dtype)
    result[3, 2, 1] = value
    return result


BAD_VOLUMES = {
    "2D": ("image_x", IMAGE[0], "a 2D image; expected a stack of planes"),
    "colour": ("image_x", np.stack([IMAGE] * 3, -1), "a colour .RGB. image; expected one grey value"),
    "4D": ("image_y", IMAGE.reshape(4, 8, 64, 64), "shape .4, 8, 64, 64.*; expected ZYX"),
    "NaN": ("image_x", spoilt(IMAGE, np.float32, np.nan), "1 NaN and 0 infinite voxels, the first in plane z = 3"),
    "infinite": ("image_y", spoilt(IMAGE, np.float32, np.inf), "0 NaN and 1 infinite voxels"),
    "constant": ("image_y", np.full(SHAPE, 7, np.uint8), "every voxel is 7"),
    "another shape": ("label_x", LABEL[:, :, :60], r"\(32, 64, 60\).*imageX_0.tif has \(32, 64, 64\)"),
    "float label": ("label_x", LABEL.astype(np.float32), "a label of type float32; expected integer ids"),
    "negative label": ("label_x", spoilt(LABEL, np.int16, -1), "ids from -1 to 2; expected none below 0"),
    "no object": ("label_x", np.zeros(SHAPE, np.uint8), "no object, every voxel is 0"),
    "semantic label": ("label_x", (LABEL > 0).astype(np.uint8), "a semantic mask; expected instances"),
    "label of Y": ("label_y", np.zeros(SHAPE, np.uint8), "no object, every voxel is 0"),
}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """What the user of a command sees: all that Python prints about the error that ends it."""

    def said(run: Run, **overrides: Any) -> str:
        with pytest.raises(Exception) as raised:
            run(**overrides)
        capsys.readouterr()
        sys.excepthook(raised.type, raised.value, raised.tb)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, "\n".join(lines)
        return lines[0]

    return said


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def train(run_here: Run, volumes: Path, out: Path) -> Run:
    def run(**overrides: Any) -> Any:
        files = {"image_x": volumes / "imageX_0.tif", "label_x": volumes / "labelX_0.tif"}
        files |= {"image_y": volumes / "imageY.tif", "output_dir": out, "model_path": out / "model.pt"}
        return run_here("training", "train", **{**files, **overrides})

    return run


@pytest.fixture
def infer(run_here: Run, volumes: Path, tmp_path: Path, out: Path) -> Run:
    def run(**overrides: Any) -> Any:
        files = {"image": volumes / "imageY.tif", "output_dir": out, "model_path": tmp_path / "model.pt"}
        return run_here("inference", "inference", **{**files, **overrides})

    return run


@pytest.mark.parametrize("case", BAD_VOLUMES)
def test_training_refuses_a_volume_in_one_line(case: str, train: Run, said: Said, tmp_path: Path, out: Path) -> None:
    key, array, words = BAD_VOLUMES[case]
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, array, photometric="rgb" if case == "colour" else "minisblack")
    assert re.search(f"^error: {re.escape(str(path))}.*{words}", said(train, **{key: path}))
    assert not out.exists()


def test_training_refuses_a_missing_file_and_lists_what_is_there(
    train: Run, said: Said, volumes: Path, out: Path
) -> None:
    assert re.search(
        r"^error: \S+imageZ.tif: no such file \(.*imageX_0.tif", said(train, image_y=volumes / "imageZ.tif")
    )
    assert "no file matches this pattern" in said(train, image_x=volumes / "none*.tif")
    assert "expected that of a volume: .tif" in said(train, image_x=CONFIGS / "train.yaml")
    assert not out.exists()


def test_training_without_a_volume_of_y_says_why_it_needs_one(volumes: Path, out: Path) -> None:
    """Where the configuration is not checked before, as in MONAI Label."""
    x, label, y = (str(volumes / name) for name in ("imageX_0.tif", "labelX_0.tif", "none.tif"))
    with pytest.raises(InputError, match="an unlabelled volume of the target Y beside the labelled volumes of the sou"):
        check_training(x, label, y, str(out), str(out / "model.pt"))
    assert not out.exists()


def test_training_refuses_a_list_without_labelled_volumes(train: Run, said: Said, out: Path) -> None:
    """What MONAI Label hands over before a label was submitted."""
    assert "image_x: no labelled volume" in said(train, **{"train#dataset#data": []})
    assert not out.exists()


def test_training_refuses_another_number_of_labels(train: Run, said: Said, volumes: Path) -> None:
    assert "2 images and 1 labels" in said(train, image_x=volumes / "imageX_*.tif")


def test_training_lists_the_datasets_of_an_hdf5_file(train: Run, said: Said, volumes: Path, out: Path) -> None:
    message = said(train, image_y=f"{volumes / 'volumeY.h5'}::raw")
    assert message.startswith(f"error: {volumes / 'volumeY.h5'}: no dataset 'raw'; it has: grey/raw (32, 64, 64) uint8")
    assert not out.exists()


def test_training_says_before_any_work_that_an_output_cannot_be_written(
    train: Run, said: Said, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    assert "file is a file, not a folder" in said(train, output_dir=tmp_path / "file" / "out")
    assert "file is a file, not a folder" in said(train, model_path=tmp_path / "file" / "model.pt")
    assert "is a folder; model_path needs the name of a file" in said(train, model_path=tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
    assert not out.exists()


def test_training_resumes_only_what_there_is(train: Run, said: Said, out: Path) -> None:
    assert said(train, resume=True).endswith("found no checkpoint to resume from. Start without --resume.")
    assert not out.exists()


def test_a_checkpoint_of_another_network_is_refused_and_kept(train: Run, said: Said, out: Path) -> None:
    out.mkdir()
    path = out / "checkpoint_0000002.pt"
    torch.save({"epoch_length": 2, "iteration": 2, "network/generator_yx": {"weight": torch.zeros(1)}}, path)
    before = path.read_bytes()
    message = said(train, resume=True)
    assert message.startswith(f"error: {path}, network/generator_yx: does not fit the network: ")
    assert "first 'entry.0.weight': nothing in the file, (8, 1, 1, 5, 5) in the network" in message
    assert path.read_bytes() == before
    assert not (out / "model.pt").exists()


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # the superuser may write everywhere
    with pytest.raises(InputError, match=f"out cannot be written to: no permission for {tmp_path}"):
        check_folder(tmp_path / "out")


def test_a_folder_yet_to_be_made_is_not_made_by_the_check(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_inference_refuses_bad_input_in_one_line(
    infer: Run, said: Said, volumes: Path, tmp_path: Path, out: Path
) -> None:
    assert "model.pt: no such file. Expected the weights" in said(infer)
    (tmp_path / "model.pt").write_bytes(b"not a model")
    assert "model.pt: found no readable weights" in said(infer)
    torch.save({"entry.0.weight": torch.zeros(1)}, tmp_path / "model.pt")
    assert re.search(r"parameters differ, first 'entry.0.weight': \(1,\) in the file, \(8, 1, 1, 5, 5\)", said(infer))
    assert "no such file" in said(infer, image=volumes / "none.tif")
    assert "extension '.png'; expected that of a volume" in said(infer, output_ext=".png")
    (tmp_path / "file").write_text("")
    assert "is a file, not a folder" in said(infer, output_dir=tmp_path / "file")
    assert not out.exists()


@pytest.fixture
def pointwise(tmp_path: Path) -> dict[str, Any]:
    """Overrides that put the smallest network with the right channels in place, with weights that fit."""
    torch.save(torch.nn.Conv3d(1, 4, 1).state_dict(), tmp_path / "model.pt")
    network = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
    return {"network_def": network, "model_path": tmp_path / "model.pt"}


def test_inference_reads_all_of_several_volumes_before_it_segments_one(
    infer: Run, said: Said, pointwise: dict[str, Any], volumes: Path, tmp_path: Path, out: Path
) -> None:
    write_volume(tmp_path / "second.tif", spoilt(IMAGE, np.float32, np.nan))
    images = [str(volumes / "imageY.tif"), str(tmp_path / "second.tif")]
    assert "second.tif: 1 NaN" in said(infer, image=images, **pointwise)
    assert not out.exists()


@pytest.mark.parametrize("base", ["train", "inference"])
def test_a_command_started_elsewhere_says_where_the_bundle_is_looked_for(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(CONFIGS.parent)])
    workflow = ConfigWorkflow(str(CONFIGS / f"{base}.yaml"), workflow_type=base, logging_file=False)
    with pytest.raises(
        SystemExit, match=r"^error: no bundle in .*: start the command in the folder of the bundle, or give"
    ):
        workflow.initialize()


def test_volumes_that_another_program_hands_over_are_those_checked(
    run_here: Run, said: Said, pointwise: dict[str, Any], volumes: Path, out: Path
) -> None:
    """By MONAI's property `dataset_data`, or the key behind it; `image` then counts for nothing."""
    settings = {"image": "none.tif", "output_dir": out, "bundle_root": CONFIGS.parent, **pointwise}

    def infer(data: Any, *overlays: str, run_id: str = "inference") -> None:
        files = [str(CONFIGS / f"{name}.yaml") for name in ("inference", *overlays)]
        given = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        workflow = ConfigWorkflow(files, run_id=run_id, logging_file=False, workflow_type="inference", **given)
        workflow.dataset_data = data
        workflow.initialize()
        workflow.run()

    def refused(data: Any, *overlays: str, **options: Any) -> str:
        return said(lambda: infer(data, *overlays, **options))

    assert "none.tif: no such file" in refused([{"image": "none.tif"}])
    assert "expected a list of dictionaries" in refused([str(volumes / "imageY.tif")])
    assert "dataset#data: found {'image': array" in refused([{"image": IMAGE}])
    assert "of 2 files, expected the name of one" in refused([{"image": str(volumes / "imageX_*.tif")}])
    item = {"image": volumes / "imageY.tif"}
    assert "imageY.tif has no label, and evaluate.yaml" in refused([item], "evaluate", run_id="evaluating")
    assert not out.exists()
    infer([item])
    assert sorted(path.name for path in out.iterdir()) == ["imageY_instances.tif", "imageY_maps.h5"]


def test_a_single_volume_and_its_label_are_read_once(
    run_here: Run, pointwise: dict[str, Any], volumes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Any, *given: Any) -> Any:
        read.append(Path(path).name)
        return load(path, *given)

    for place in ("adapter", "files"):
        monkeypatch.setattr(f"scripts.volume_io.{place}.load", counted)
    files = {"image": volumes / "imageX_0.tif", "label": volumes / "labelX_0.tif", "output_dir": tmp_path / "out"}
    run_here("evaluating", "inference", "evaluate", **files, **pointwise)
    assert read == ["imageX_0.tif", "labelX_0.tif"]


def test_several_volumes_are_checked_with_their_labels(volumes: Path, tmp_path: Path) -> None:
    images, labels = (str(volumes / f"{kind}X_*.tif") for kind in ("image", "label"))
    check_inference(images, str(tmp_path / "out"), "nii.gz", labels)
    write_volume(tmp_path / "cut.tif", LABEL[1:])
    with pytest.raises(InputError, match=r"cut\.tif: shape \(31, 64, 64\)"):
        check_inference(images, str(tmp_path / "out"), label=[str(volumes / "labelX_0.tif"), str(tmp_path / "cut.tif")])


def test_evaluation_refuses_a_label_of_another_shape(
    run_here: Run, said: Said, pointwise: dict[str, Any], volumes: Path, tmp_path: Path, out: Path
) -> None:
    def evaluate(**given: Any) -> Any:
        return run_here("evaluating", "inference", "evaluate", output_dir=out, **given)

    write_volume(tmp_path / "label.h5", LABEL[:, 1:])
    message = said(evaluate, image=volumes / "imageY.tif", label=tmp_path / "label.h5", **pointwise)
    assert re.search(r"label.h5\S*: shape \(32, 63, 64\) \(z, y, x\), but its image \S+imageY.tif has", message)
    assert not out.exists()


def test_volumes_whose_results_would_overwrite_each_other_are_refused(volumes: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write_volume(tmp_path / "b" / "imageY.tif", IMAGE)
    same = [str(volumes / "imageY.tif"), str(tmp_path / "b" / "imageY.tif")]
    with pytest.raises(InputError, match=r"would be written to .*imageY_…; expected names that differ"):
        check_inference(same, str(tmp_path / "out"))
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = IMAGE, IMAGE
    check_inference([f"{tmp_path / 'two.h5'}::{name}" for name in "ab"], str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("maps", "decoder", "overlay"),
    [
        (["Affinity"], "BCDWatershed", "target_affinity.yaml"),
        (["Foreground", "Contour", "SignedDistance"], "AffinityWatershed", "without target_bc.yaml"),
        (["Foreground", "Contour"], "BCDWatershed", "target_bc.yaml"),
        (["Contour", "Foreground", "SignedDistance"], "BCDWatershed", "Set both alike"),
    ],
)
def test_a_decoder_of_other_maps_is_refused_before_any_work(
    maps: list[str], decoder: str, overlay: str, train: Run, infer: Run, said: Said, out: Path, tmp_path: Path
) -> None:
    torch.save(torch.nn.Conv3d(1, 4, 1).state_dict(), tmp_path / "model.pt")
    given = {
        "representation::maps": [{"_target_": f"scripts.representation.{name}"} for name in maps],
        "decoder": {"_target_": f"scripts.watershed.{decoder}"},
    }
    for run in (train, infer):
        message = said(run, **given)
        assert message.startswith("error: representation: found the maps ")
        assert f"but {decoder}, the decoder, takes " in message
        assert overlay in message
    assert not out.exists()


def test_a_decoder_of_anothers_making_is_taken_as_it_is() -> None:
    check_decoder(Representation([Foreground()]), np.argmax)
    check_decoder(None, AffinityWatershed())


def test_weights_of_another_target_are_refused_by_name(infer: Run, said: Said, tmp_path: Path, out: Path) -> None:
    """Three affinities and the three maps of BCD give the same network."""
    network = torch.nn.Conv3d(1, 4, 1)
    engine = Engine(lambda *_: None)
    engine.state.rank = 0
    WeightsSaver(str(tmp_path / "model.pt"), network, map_names=["affinity"])(engine)
    given = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
    message = said(infer, network_def=given)
    assert "model.pt: was trained for the maps affinity, expected foreground, contour, distance" in message
    assert message.endswith(
        "Use the target_….yaml overlay that it was trained with, or none if it was trained with none."
    )
    assert not out.exists()


def test_weights_with_another_number_of_maps_name_the_overlays(infer: Run, said: Said, tmp_path: Path) -> None:
    torch.save(torch.nn.Conv3d(1, 3, 1).state_dict(), tmp_path / "model.pt")
    given = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
    assert "the overlays (target_….yaml, tile_independent.yaml)" in said(infer, network_def=given)


def test_good_input_passes(volumes: Path, tmp_path: Path) -> None:
    images, labels = str(volumes / "imageX_*.tif"), str(volumes / "labelX_*.tif")
    check_training(images, labels, str(volumes / "imageY.tif"), str(tmp_path / "out"), str(tmp_path / "m" / "model.pt"))
    check_inference(f"{volumes / 'volumeY.h5'}::grey/raw", str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_ours_is_found_behind_those_it_caused() -> None:
    ours = InputError("a.tif: bad")
    try:
        try:
            raise ours
        except InputError as error:
            raise RuntimeError("applying transform") from error
    except RuntimeError as error:
        assert expected_error(error) is ours
    assert expected_error(NonFiniteLossError("nan")) is not None
    assert expected_error(ValueError("another")) is None


def test_errors_of_others_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    plain_errors()
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err


def test_the_command_ends_with_the_message(volumes: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(CONFIGS / "train.yaml")]
    command += [
        "--bundle_root",
        str(CONFIGS.parent),
        "--dataset_dir",
        str(volumes),
        "--output_dir",
        str(tmp_path / "out"),
    ]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    first, *others = ended.stderr.splitlines()[-3:]  # MONAI warns before
    assert first == "error: 2 problems, before any work:"
    for name, line in zip(("imageX", "labelX"), others, strict=True):
        assert re.match(rf"  \S+{name}.tif: no such file", line)
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []
