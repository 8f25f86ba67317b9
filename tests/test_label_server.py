"""MONAI Label: what the bundle does for it, and the real server, driven by REST as 3D Slicer drives it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from scripts.errors import InputError
from scripts.example import make_pair
from scripts.label_server import CheckGeometryd, InstanceResultd, command
from scripts.label_server.access import ACCESS, Access
from scripts.label_server.environment import check_environment, sample_app
from scripts.label_server.folder import check_model, merged_configs, other_than_model, write_app, write_config
from scripts.label_server.task import PlannedTask, Served
from scripts.label_server.transform import file_order, holding_type
from scripts.networks import SegmentationGenerator
from scripts.plan import METADATA, Plan
from scripts.plan.file import read_plan

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundle"
PYTHON = ROOT / ".venv-label" / "bin" / "python"
STAND_IN = Path(__file__).parent / "label"
SENTENCE = "training needs an unlabelled volume of the target Y beside the labelled volumes of the source X"
REVERSED = [2, 1, 0, 3]
COS, SIN = np.cos(0.3), np.sin(0.3)
# index (x, y, z) -> position: voxels of 1 x 1 x 2, as the shipped weights were trained on, turned in the plane and
# elsewhere, axes exchanged, and bent
TURNED = np.array([[COS, -SIN, 0, 10], [SIN, COS, 0, -20], [0, 0, 2, 5], [0, 0, 0, 1]])
EXCHANGED = np.array([[0, 0, -2, 3], [1, 0, 0, 4], [0, -1, 0, 5], [0, 0, 0, 1]])
SHEARED = TURNED + np.array([[0, 0.3, 0, 0], *[[0] * 4] * 3])


def volume(array: np.ndarray, affine: np.ndarray = TURNED) -> MetaTensor:
    """(1, Z, Y, X) as our reader gives it; the affine is that of a file, for (x, y, z)."""
    meta = {"original_affine": affine[:, REVERSED], "filename_or_obj": "a.nii.gz"}
    return MetaTensor(torch.as_tensor(array)[None], affine=torch.as_tensor(affine[:, REVERSED]), meta=meta)


def test_the_order_of_the_file_keeps_every_voxel_in_its_place(balls: np.ndarray) -> None:
    before = volume(balls.astype(np.int32))
    after = file_order(before)
    assert after.shape == (1, 64, 64, 16)
    assert torch.equal(after.as_tensor()[0, 5, 7, 3], before.as_tensor()[0, 3, 7, 5])
    np.testing.assert_allclose(after.affine, TURNED)
    np.testing.assert_allclose(after.meta["original_affine"], TURNED)
    assert list(after.meta["spatial_shape"]) == [64, 64, 16]


@pytest.mark.parametrize(("instances", "ids"), [(True, [0, 1, 2, 3, 4]), ("false", [0, 1])])
def test_the_result_is_one_label_volume_of_instances_or_of_foreground(
    balls: np.ndarray, instances: bool | str, ids: list[int]
) -> None:
    data = {"image": volume(balls.astype(np.float32)), "instances": volume(balls.astype(np.int32))}
    result = InstanceResultd("instances", instances=instances)(data)
    assert result["pred"].shape == result["image"].shape == (1, 64, 64, 16)
    assert result["pred"].unique().tolist() == ids
    assert result["result"] == {"instances": 4}
    assert data["image"].shape == (1, 16, 64, 64)


@pytest.mark.parametrize(("wanted", "highest", "written"), [("uint8", 255, "uint8"), ("uint8", 300, "uint16")])
def test_an_integer_type_that_cannot_hold_the_ids_is_replaced(
    wanted: str, highest: int, written: str, caplog: pytest.LogCaptureFixture
) -> None:
    """3D Slicer always asks for uint8; instance 256 would be background."""
    label = np.zeros((4, 4, 4), np.int32)
    label[1, 2, 3] = highest
    data = {"image": volume(label), "instances": volume(label), "result_dtype": wanted}
    assert InstanceResultd("instances")(data)["result_dtype"] == written
    assert InstanceResultd("instances", instances=False)(data)["result_dtype"] == "uint8"
    assert ("Ids up to 300 do not fit into uint8" in caplog.text) == (highest == 300)


def test_ids_beyond_uint16_are_written_as_uint32() -> None:
    assert (holding_type(None, 65535), holding_type(None, 65536)) == ("uint16", "uint32")
    assert holding_type("float32", 7) == "float32"


def test_axes_that_are_bent_are_refused(balls: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"a\.nii\.gz: the axes of its affine are not at right angles"):
        CheckGeometryd("image")({"image": volume(balls, SHEARED)})


def test_axes_that_are_exchanged_are_told_and_taken(balls: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    check = CheckGeometryd("image")
    check({"image": volume(balls, TURNED)})
    assert caplog.text == ""
    check({"image": volume(balls, EXCHANGED)})
    assert "a.nii.gz: orientation AIL, so its third axis is not the z of the world" in caplog.text


@pytest.mark.parametrize("version", ["0.7.0", "0.8.4", "0.9.0", "1.0.0"])
def test_a_monai_label_of_another_version_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    with pytest.raises(InputError, match=f"MONAI Label {version} is installed .* expected 0.8.5 or a later 0.8.x"):
        check_environment()


def test_an_environment_without_monai_label_says_where_to_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(InputError, match=r"not installed for .*docs/guides/MONAI_LABEL\.md"):
        check_environment()


def test_a_torchvision_of_another_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "0.8.5")
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="torchvision, which MONAI Label imports, cannot be imported"):
        check_environment()
    monkeypatch.setitem(sys.modules, "torchvision", sys)
    monkeypatch.setitem(sys.modules, "torchvision.utils", sys)
    assert check_environment() == "0.8.5"


def test_a_monai_label_without_its_sample_app_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "files", lambda _: None)
    with pytest.raises(InputError, match=r"without sample-apps/monaibundle/main\.py"):
        sample_app()


# ---- the plan of the weights -----------------------------------------------------------------------------------------
def write_weights(path: Path, channels: int = 3, **keys: Any) -> Path:
    """Weights of a small network for two maps, and their plan with these keys; one channel fewer: they do not fit."""
    network = {"_target_": "scripts.networks.SegmentationGenerator", "filters": [8, 16]}
    maps = [{"_target_": f"scripts.representation.{name}"} for name in ("Foreground", "Contour")]
    known = {
        "representation": {"_target_": "scripts.representation.Representation", "maps": maps},
        "decoder": {"_target_": "scripts.watershed.BCWatershed", "seed_contour": 0.7},
        "network_def": {**network, "out_channels": 3},
        "scale": [1.0, 0.25, 0.25],
        "intensity_percentiles": [2.0, 98.0],
        "training_voxel_size": [2.0, 0.5, 0.5],
    }
    state: Any = SegmentationGenerator(out_channels=channels, filters=(8, 16)).state_dict()
    state._metadata[""][METADATA] = Plan({**known, **keys}, "0.5.0").to_text()
    torch.save(state, path)
    return path


def test_the_server_takes_maps_network_scale_and_grey_values_from_the_model(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "model.pt")
    config = merged_configs([], {}, weights)["inference"]
    plan = read_plan(weights)
    assert plan is not None
    assert {name: config[name] for name in ("scale", "intensity_percentiles", "training_voxel_size")} == {
        name: plan.keys[name] for name in ("scale", "intensity_percentiles", "training_voxel_size")
    }
    parser = ConfigParser({**config, "device": "cpu"})
    assert parser.get_parsed_content("representation").names == ["foreground", "contour"]
    assert config["decoder"]["seed_contour"] == 0.7
    assert config["displayable_configs"] == {"instances": True}
    check_model(config, weights)
    base = BUNDLE / "configs" / "inference.yaml"
    assert merged_configs([base], {}, weights) == merged_configs([], {}, weights)
    typed = merged_configs([], {"decoder#seed_contour": 0.3, "scale": [1.0, 1.0, 1.0]}, weights)["inference"]
    assert typed["decoder"]["seed_contour"] == 0.3, "thresholds may differ"
    assert (typed["scale"], typed["training_voxel_size"]) == ([1.0, 1.0, 1.0], None), "a given scale holds"


def test_a_training_from_a_client_that_sees_y_otherwise_than_the_model_is_noticed(tmp_path: Path) -> None:
    train = merged_configs([], {"scale_y": [1.0, 0.25, 0.25]})["train"]
    weights = write_weights(tmp_path / "model.pt")
    assert other_than_model(train, weights) == ["intensity_percentiles", "representation", "network_def"]
    assert other_than_model(train, BUNDLE / "models" / "model.pt") == ["scale"]


def test_a_request_gets_the_plan_of_its_weights_also_after_a_training(tmp_path: Path) -> None:
    """MONAI Label reads the configuration once."""
    made: list[Any] = []

    class Task:
        def __init__(self) -> None:
            self.scale = json.loads((tmp_path / "configs" / "inference.json").read_text())["scale"]
            made.append(self)

        def config(self) -> dict[str, Any]:
            return {"model_filename": ["model.pt", "model_previous.pt"]}

        def __call__(self, request: Any, callbacks: Any = None) -> Any:
            return self.scale

    for name in ("configs", "models"):
        (tmp_path / name).mkdir()
    weights = write_weights(tmp_path / "models" / "model.pt")
    served = Served.from_text(Served([], {"amp": False}).to_text())
    write_config(tmp_path, "inference", served.config(weights))
    task = PlannedTask(Task(), Task, tmp_path, served)
    assert task({}) == task({}) == [1.0, 0.25, 0.25]
    assert len(made) == 1
    shutil.move(weights, tmp_path / "models" / "model_previous.pt")
    write_weights(weights, scale=[1.0, 0.5, 1.0])
    assert task({}) == task.scale == [1.0, 0.5, 1.0]
    assert task({"model_filename": "model_previous.pt"}) == [1.0, 0.25, 0.25]
    write_weights(weights, channels=2)
    with pytest.raises(InputError, match=r"model\.pt: does not fit the network"):
        task({})
    state: Any = torch.load(weights, weights_only=True)
    state._metadata[""][METADATA] = json.dumps({"format": 99, "version": "9.0"})
    torch.save(state, weights)
    with pytest.raises(InputError, match=r"model\.pt: found a plan of format 99"):
        task({})
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.pt: no such file"):
        task({})


def test_monai_labels_own_server_does_not_misread_weights_of_another_plan(tmp_path: Path) -> None:
    """It loads weights, knows of no plan, and opens inference.yaml as it is."""
    (tmp_path / "models").mkdir()
    weights = write_weights(tmp_path / "models" / "model.pt")

    def run(config: dict[str, Any], **request: Any) -> Any:
        parser = ConfigParser({**config, "bundle_root": str(tmp_path)})
        return parser.get_parsed_content("label_plan")(request)

    base = ConfigParser.load_config_file(BUNDLE / "configs" / "inference.yaml")
    with pytest.raises(
        InputError, match=r"(?s)scale: found \[1.0, 0.5, 0.5\], expected \[1.0, 0.25, 0.25\].*label_ser"
    ):
        run(base)
    run(merged_configs([], {}, weights)["inference"])
    shutil.copy(BUNDLE / "models" / "model.pt", tmp_path / "models" / "shipped.pt")
    run(base, model_filename=["shipped.pt"])
    state = dict(torch.load(weights, weights_only=True))
    torch.save(state, tmp_path / "models" / "old.pt")
    run(base, model_filename="old.pt")


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Something like the app that MONAI Label brings."""
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "main.py").write_text("class MyApp: ...\n")
    return folder


def test_overlays_and_keys_go_into_the_one_file_that_monai_label_opens(tiny: Path, tmp_path: Path) -> None:
    overlays = [tiny, BUNDLE / "configs" / "target_bc.yaml"]
    torch.save({}, tmp_path / "without_plan.pt")
    configs = merged_configs(overlays, {"image_y": "Y.tif", "decoder#seed_contour": 0.3}, tmp_path / "without_plan.pt")
    assert configs["train"]["image_y"] == "Y.tif"
    assert "image_y" not in configs["inference"]
    assert configs["train"]["max_iterations"] == 4
    for config in configs.values():
        assert config["network_def"]["filters"] == [8, 16]
        assert config["decoder"]["_target_"] == "scripts.watershed.BCWatershed"
        assert config["decoder"]["seed_contour"] == 0.3


def test_a_misspelt_key_or_overlay_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the key image_z is in neither"):
        merged_configs([], {"image_z": "Y.tif"})
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        merged_configs(["none.yaml"], {})
    (tmp_path / "bad.yaml").write_text("networ_def::filters: [8]\n")
    with pytest.raises(InputError, match=r"bad\.yaml: the key networ_def::filters is in neither"):
        merged_configs([tmp_path / "bad.yaml"], {})


def test_the_app_folder_is_renewed_and_leaves_other_files_alone(tmp_path: Path, sample: Path) -> None:
    app, configs = tmp_path / "app", merged_configs([], {})
    write_app(app, sample, configs)
    model = app / "model" / "cysgan"
    (model / "outputs").mkdir()
    write_app(app, sample, merged_configs([], {"image_y": "Y.tif"}))
    assert (model / "outputs").is_dir()
    assert (model / "models").resolve() == BUNDLE / "models"
    assert (model / "configs" / "metadata.json").read_bytes() == (ROOT / "metadata.json").read_bytes()
    assert json.loads((model / "configs" / "train.json").read_text())["image_y"] == "Y.tif"
    assert ConfigParser.load_config_file(model / "configs" / "inference.json") == configs["inference"]
    (sample / "other").mkdir()
    (sample / "other" / "file").touch()
    with pytest.raises(InputError, match="found other files"):
        write_app(sample / "other", sample, configs)
    (model / "scripts").unlink()
    (model / "scripts").mkdir()
    with pytest.raises(InputError, match="expected none or a link to the bundle"):
        write_app(app, sample, configs)


def test_the_command_becomes_the_server(
    tmp_path: Path, sample: Path, volumes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(command, "check_environment", lambda: "0.8.5")
    monkeypatch.setattr(command, "sample_app", lambda: sample)
    monkeypatch.setattr(os, "execve", lambda *given: started.extend(given))
    monkeypatch.chdir(volumes)
    with pytest.raises(InputError, match=r"--start_from model\.pt: no such file"):
        command.serve(str(volumes), start_from="model.pt")
    shutil.copy(BUNDLE / "models" / "model.pt", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "volumes").symlink_to(volumes)
    command.serve(
        str(volumes), folder=str(tmp_path / "app"), port=81, image_y="volumes/imageY.tif", start_from="model.pt"
    )
    _, arguments, environment = started
    assert "--port 81 --uvicorn_app scripts.label_server.app:app --conf models cysgan" in " ".join(arguments)
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(BUNDLE)
    assert Path.cwd() == tmp_path / "app" / "run" and not list(Path.cwd().iterdir())
    token = Access.from_text(environment[ACCESS]).token
    written = json.loads((tmp_path / "app" / "model" / "cysgan" / "configs" / "train.json").read_text())
    assert written["image_y"] == [str(tmp_path / "volumes" / "imageY.tif")]
    assert written["start_from"] == str(tmp_path / "model.pt")
    printed = capsys.readouterr().out
    assert "training: with volumes/imageY.tif as Y" in printed and f"http://127.0.0.1:81/{token}\n" in printed


def test_overlays_that_contradict_the_model_are_rejected_before_the_server_starts(
    tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "check_environment", lambda: "0.8.5")
    monkeypatch.setattr(command, "sample_app", lambda: sample)
    target, app = BUNDLE / "configs" / "target_bc.yaml", tmp_path / "app"
    with pytest.raises(InputError, match=r"target_bc\.yaml:\d+: representation::maps: .*model\.pt was trained"):
        command.serve(str(tmp_path), config=str(target), folder=str(app))
    with pytest.raises(
        InputError, match=r"command line: intensity_gamma: found 0\.9, expected .*model\.pt was trained"
    ):
        command.serve(str(tmp_path), intensity_gamma=0.9, folder=str(app))
    assert not (tmp_path / "app").exists()
    with pytest.raises(InputError, match="no such folder"):
        command.serve(str(tmp_path / "studies"))


# ---- the real server -------------------------------------------------------------------------------------------------
needs_server = pytest.mark.skipif(not PYTHON.exists(), reason="make label-test makes the environment")


class Server:
    """A MONAI Label server, asked as its clients do."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self.log = url, log

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        given = {"Content-Type": kind, **(headers or {})}
        request = urllib.request.Request(self.url + path, body, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str) -> Any:
        return json.loads(self.ask("GET", path)[1])

    def form(
        self, method: str, path: str, file: Path | None = None, field: str = "label", **params: Any
    ) -> tuple[int, bytes]:
        """A form of two parts, as 3D Slicer sends it: params as JSON, and a file."""
        parts = [b'name="params"\r\n\r\n' + json.dumps(params).encode()]
        if file:
            head = f'name="{field}"; filename="{file.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
            parts.append(head.encode() + file.read_bytes())
        body = b"".join(b"--part\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
        return self.ask(method, path, body + b"--part--\r\n", "multipart/form-data; boundary=part")

    def infer(self, image: str, output: str = "image", **params: Any) -> tuple[int, bytes]:
        return self.form("POST", f"/infer/cysgan?image={image}&output={output}", **params)

    def train(self, **params: Any) -> tuple[int, bytes]:
        return self.ask("POST", "/train/cysgan?run_sync=true", json.dumps(params).encode())


@contextmanager
def serving(bundle: Path, studies: Path, *options: str) -> Iterator[Server]:
    """The server that the command of a copied bundle starts, stopped again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = studies.with_suffix(".log")
    line = [str(PYTHON), "-m", "scripts.label_server", "--studies", str(studies), "--port", str(port), *options]
    environment = {**os.environ, "PYTHONPATH": str(STAND_IN), "OMP_NUM_THREADS": "2"}
    with open(log, "w") as file:
        process = subprocess.Popen(line, cwd=bundle, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 240
        while "startup complete" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        [address] = re.findall(rf"^(http://127\.0\.0\.1:{port}/\S+)$", log.read_text(), re.M)
        yield Server(address, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def copied(folder: Path) -> Path:
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("__pycache__", "outputs", "eval", "data"))
    return folder


def save(path: Path, array: np.ndarray, affine: np.ndarray, unit: str | None = None) -> None:
    """Write (Z, Y, X), or more axes, as a client's NIfTI."""
    image: Any = nibabel.Nifti1Image(array.T, affine)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, Path]]:
    """The server without image_y, its bundle, and its studies: the same volume in four geometries, one with a label."""
    folder = tmp_path_factory.mktemp("label")
    bundle, studies = copied(folder / "bundle"), folder / "studies"
    studies.mkdir()
    pair = make_pair((24, 96, 96), seed=1)
    save(studies / "turned.nii.gz", pair["imageY"], TURNED)
    save(studies / "exchanged.nii.gz", pair["imageY"], EXCHANGED)
    save(studies / "sheared.nii.gz", pair["imageY"], SHEARED)
    save(studies / "channels.nii.gz", np.stack([pair["imageY"]] * 2), TURNED)
    fine = pair["imageY"].repeat(2, axis=1).repeat(2, axis=2)
    save(studies / "fine.nii.gz", fine, np.diag([0.5, 0.5, 2.0, 1.0]), unit="micron")
    save(folder / "labelX.nii.gz", pair["labelY"].astype(np.int16), TURNED)
    state_voxel_size(bundle / "models" / "model.pt", [2.0, 1.0, 1.0])
    with serving(bundle, studies) as server:
        yield server, bundle, studies


def state_voxel_size(path: Path, size: list[float]) -> None:
    """Give the plan of weights a training's voxel size (z, y, x) in µm, which the shipped ones have none of."""
    state, plan = torch.load(path, weights_only=True), read_plan(path)
    assert plan is not None
    assert plan.voxel_size is None
    state._metadata[""][METADATA] = plan.with_keys({"training_voxel_size": size}).to_text()
    torch.save(state, path)


@pytest.fixture(scope="module")
def segmented(served: tuple[Server, Path, Path]) -> Path:
    """Instances of the same files by the command line."""
    _, bundle, studies = served
    images = [str(studies / f"{name}.nii.gz") for name in ("turned", "exchanged", "fine")]
    line = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.yaml"]
    line += ["--image", str(images), "--output_ext", ".nii.gz", "--output_dir", str(studies.parent / "out")]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(line, cwd=bundle, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return studies.parent / "out"


@needs_server
def test_the_server_lists_the_model_with_one_label_and_the_switch(served: tuple[Server, Path, Path]) -> None:
    info = served[0].get("/info/")
    model = info["models"]["cysgan"]
    assert (info["labels"], model["labels"]) == (["nucleus"], {"nucleus": 1})
    assert (model["dimension"], model["config"]["instances"]) == (3, True)
    assert "cysgan" in info["trainers"]


@needs_server
@pytest.mark.parametrize(("name", "affine"), [("turned", TURNED), ("exchanged", EXCHANGED)])
def test_inference_returns_the_instances_of_the_command_line_in_the_geometry_of_the_file(
    name: str, affine: np.ndarray, served: tuple[Server, Path, Path], segmented: Path, tmp_path: Path
) -> None:
    status, content = served[0].infer(name, result_dtype="uint16", result_extension=".nii.gz")
    assert status == 200
    (tmp_path / "label.nii.gz").write_bytes(content)
    label: Any = nibabel.load(tmp_path / "label.nii.gz")
    expected: Any = nibabel.load(segmented / f"{name}_instances.nii.gz")
    assert label.shape == (96, 96, 24)
    np.testing.assert_allclose(label.affine, affine, atol=1e-5)
    ids = np.asarray(label.dataobj)
    assert len(np.unique(ids)) > 5
    np.testing.assert_array_equal(ids, np.asarray(expected.dataobj))


@needs_server
def test_a_volume_of_smaller_voxels_is_seen_at_the_size_that_the_model_learned(
    served: tuple[Server, Path, Path], segmented: Path, tmp_path: Path
) -> None:
    """The plan of the server's weights has voxels of 2 x 1 x 1 µm (z, y, x), `fine` has 2 x 0.5 x 0.5."""
    status, content = served[0].infer("fine", result_dtype="uint16", result_extension=".nii.gz")
    assert status == 200
    (tmp_path / "label.nii.gz").write_bytes(content)
    label: Any = nibabel.load(tmp_path / "label.nii.gz")
    expected: Any = nibabel.load(segmented / "fine_instances.nii.gz")
    np.testing.assert_array_equal(np.asarray(label.dataobj), np.asarray(expected.dataobj))
    assert "fine.nii.gz: scale 1 x 0.25 x 0.25 instead of 1 x 0.5 x 0.5" in served[0].log.read_text()


@needs_server
def test_the_server_tells_of_exchanged_axes_in_its_log(served: tuple[Server, Path, Path]) -> None:
    status, answer = served[0].infer("exchanged", output="json")
    assert status == 200
    assert json.loads(answer)["instances"] > 5
    assert "exchanged.nii.gz: orientation AIL" in served[0].log.read_text()


@needs_server
def test_the_datastore_keeps_the_foreground_as_one_label(served: tuple[Server, Path, Path]) -> None:
    server, _, studies = served
    status, answer = server.infer("turned", output="json", save_label=True, instances=False, result_extension=".nii.gz")
    kept = server.get("/datastore/?output=all")["objects"]["turned"]["labels"]["original"]
    assert (status, json.loads(answer)["label_names"]) == (200, {"nucleus": 1})
    label: Any = nibabel.load(studies / "labels" / "original" / kept["info"]["name"])
    assert np.unique(np.asarray(label.dataobj)).tolist() == [0, 1]


@needs_server
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("channels", "channels.nii.gz: 4D, shape (96, 96, 24, 2)"),
        ("sheared", "sheared.nii.gz: the axes of its affine are not at right angles"),
    ],
)
def test_bad_input_is_answered_with_its_message(name: str, words: str, served: tuple[Server, Path, Path]) -> None:
    status, answer = served[0].infer(name)
    assert status == 400
    assert words in json.loads(answer)["detail"]


@needs_server
def test_training_says_what_it_needs(served: tuple[Server, Path, Path]) -> None:
    server, bundle, studies = served
    before = (bundle / "models" / "model.pt").read_bytes()
    status, answer = server.train(max_epochs=1)
    assert (status, "submit the label of one first" in answer.decode()) == (400, True)
    status, _ = server.form("PUT", "/datastore/label?image=turned", studies.parent / "labelX.nii.gz")
    assert status == 200
    assert "final" in server.get("/datastore/?output=all")["objects"]["turned"]["labels"]
    status, answer = server.train(max_epochs=1)
    assert (status, SENTENCE in json.loads(answer)["detail"]) == (400, True)
    assert (bundle / "models" / "model.pt").read_bytes() == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


@needs_server
def test_no_request_runs_code_or_leaves_the_studies(served: tuple[Server, Path, Path], tmp_path: Path) -> None:
    server, bundle, studies = served
    volume, mark = studies / "turned.nii.gz", tmp_path / "ran"
    code = f"$__import__('pathlib').Path({str(mark)!r}).touch()"
    before, weights = contents(studies), contents(bundle / "models")
    attempts = [
        server.infer("turned", instances=code),
        server.infer("turned", device=code),
        server.infer("turned", instances={"_target_": "pathlib.Path.touch", "self": str(mark)}),
        server.infer("turned", result_extension=f"/../../..{mark}"),
        server.infer("turned", label_tag="../../x", save_label=True),
        server.infer(str(volume)),
        server.infer(f"{studies.name}%2Fturned"),
        server.train(max_epochs=code),
        server.train(max_epochs={"_target_": "os.system", "command": f"touch {mark}"}),
        server.train(max_epochs=1, model_filename="../../model.pt"),
        server.train(max_epochs=1, **{"bundle_root": code}),
        server.ask("POST", "/train/", json.dumps({"cysgan": {"run_id": code}}).encode()),
        server.ask("POST", "/batch/infer/cysgan?run_sync=true", json.dumps({"images": [str(volume)]}).encode()),
        server.form("PUT", "/datastore/?image=../x", volume, field="file"),
        server.form("PUT", "/datastore/?image=..%2Fx", volume, field="file"),
        server.form("PUT", "/datastore/?image=datastore_v2", studies / "datastore_v2.json", field="file"),
        server.form("PUT", "/datastore/?image=turned", volume, field="file"),
        server.form("PUT", "/datastore/label?image=turned&tag=../../x", volume),
        server.form("PUT", "/session/?uncompress=true", volume, field="files"),
        server.form("PUT", "/model/cysgan", volume, field="file"),
        server.ask("GET", "/datastore/image?image=/etc/hostname"),
        server.ask("GET", "/logs/?html=false"),
        server.ask("GET", "/proxy/dicom/studies"),
        server.ask("GET", "/openapi.json"),
    ]
    assert {status for status, _ in attempts} <= {400, 404, 409}
    assert all("\n" not in json.loads(answer)["detail"] for _, answer in attempts)
    assert not mark.exists()
    assert (contents(studies), contents(bundle / "models")) == (before, weights)


@needs_server
def test_nobody_asks_without_the_token_or_from_another_page(served: tuple[Server, Path, Path]) -> None:
    server = served[0]
    bare = Server(server.url.rpartition("/")[0], server.log)
    assert bare.ask("GET", "/info/")[0] == 401
    for name, value in (("Host", "evil.example"), ("Origin", "https://evil.example"), ("Origin", "null")):
        assert server.ask("GET", "/info/", headers={name: value})[0] == 403
        assert server.ask("POST", "/train/cysgan", b"{}", headers={name: value})[0] == 403


@needs_server
def test_3d_slicers_own_client_works_with_the_address_or_the_token_as_password(
    served: tuple[Server, Path, Path], tmp_path: Path
) -> None:
    """It sends back what it was offered, whole paths as names of files, and logs in where it is asked to."""
    server, _, studies = served
    module = next((PYTHON.parents[1] / "monailabel").rglob("slicer/MONAILabel/MONAILabelLib/client.py"))
    script = tmp_path / "slicer.py"
    script.write_text(SLICER)
    address, _, token = server.url.rpartition("/")
    shutil.copy(studies / "turned.nii.gz", tmp_path / "of slicer.nii.gz")
    line = [str(PYTHON), "-W", "ignore", str(script), str(module.parent), server.url, address, token]
    ended = subprocess.run([*line, str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "uploaded": "of slicer",
        "instances": True,
        "label": "of slicer",
    }
    assert (studies / "of slicer.nii.gz").is_file() and (studies / "labels" / "final" / "of slicer.nii.gz").is_file()


SLICER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from client import MONAILabelClient
address, bare, token, folder = sys.argv[2:]
asked = MONAILabelClient(bare, folder, "user-xyz")
assert asked.auth_enabled()
asked.update_auth(asked.auth_token("user", token))
assert asked.auth_valid_token() and asked.info()["models"]
client = MONAILabelClient(address, folder, "user-xyz")
assert not client.auth_enabled()
config = lambda part: {k: v[0] if isinstance(v, list) else v for k, v in part["cysgan"]["config"].items()}
info = client.info()
volume = folder + "/of slicer.nii.gz"
uploaded = client.upload_image(volume, "of slicer")["image"]
assert client.next_sample("first", {})["id"]
params = {**config(info["models"]), "result_extension": ".nrrd", "result_dtype": "uint8"}
label, found = client.infer("cysgan", uploaded, params)
session = client.create_session(volume)["session_id"]
assert client.get_session(session)
again = client.infer("cysgan", "not in the studies", params, session_id=session)[1]
assert again["instances"] == found["instances"]
client.remove_session(session)
saved = client.save_label(uploaded, volume, params={"label_info": [{"name": "nucleus", "idx": 1}]})
try:
    client.train_start("cysgan", {**config(info["trainers"]), "max_epochs": 1})
finally:
    client.train_stop()
print(json.dumps({"uploaded": uploaded, "instances": found["instances"] > 5, "label": saved["label"]}))
"""


@needs_server
def test_training_with_a_volume_of_y_writes_the_weights(tmp_path: Path, tiny: Path) -> None:
    """An overlay too: the smallest network, whose weights are put into the bundle first."""
    bundle, studies, overlay = copied(tmp_path / "bundle"), tmp_path / "studies", tmp_path / "tiny.yaml"
    studies.mkdir()
    overlay.write_text(yaml.safe_dump({**yaml.safe_load(tiny.read_text()), "validation_interval": 100}))
    pair = make_pair((20, 64, 64), seed=1)
    save(studies / "x.nii.gz", pair["imageX"], TURNED)
    save(tmp_path / "label.nii.gz", pair["labelX"].astype(np.int16), TURNED)
    save(tmp_path / "y.nii.gz", pair["imageY"], TURNED)
    torch.save({}, tmp_path / "none.pt")
    config = merged_configs([overlay], {}, tmp_path / "none.pt")["inference"]
    network = ConfigParser(config).get_parsed_content("network_def")
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    with serving(bundle, studies, "--config", str(overlay), "--image_y", str(tmp_path / "y.nii.gz")) as server:
        assert server.form("PUT", "/datastore/label?image=x", tmp_path / "label.nii.gz")[0] == 200
        assert server.infer("x", output="json")[0] == 200
        assert server.train(max_epochs=2, val_split=0.2, run_id="") == (200, b"{}")
        assert server.infer("x", output="json")[0] == 200
        assert "model.pt: inference takes its plan from now on" in server.log.read_text()
        written = json.loads((bundle / "outputs/label_server/model/cysgan/configs/inference.json").read_text())
    made = read_plan(bundle / "models" / "model.pt")
    assert made is not None and made.keys["training_voxel_size"] == written["training_voxel_size"]
    assert [volume["name"] for volume in made.trained_on["image_y"]] == ["y.nii.gz"]
    old, new = (torch.load(bundle / "models" / f"model{tail}.pt", weights_only=True) for tail in ("_previous", ""))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in old.items())
    assert any(not torch.equal(value, old[name]) for name, value in new.items())
