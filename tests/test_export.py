"""Exported files: they give what the network gives, say what they are, and stand in for it; the rest is refused."""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow, ckpt_export
from monai.data import load_net_with_metadata
from scripts.check.overlay import configuration
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.command.start import expected_error
from scripts.errors import InputError
from scripts.example import write_pair
from scripts.export import ExportedNetwork, Note, file, write_export
from scripts.export.__main__ import main, planned
from scripts.export.note import activated, note_of, unpacked
from scripts.networks import SegmentationGenerator
from scripts.plan import METADATA, Plan
from scripts.plan.export import metadata_of
from scripts.plan.file import read_plan
from scripts.volume_io import open_volume, read_volume
from scripts.watershed.choice import decoder_of, definition_of
from torch import nn


class Version041(NamedTuple):
    """What version 0.4.1 wrote of a file, and all it did."""

    map_names: list[str]
    channel_names: list[str]
    activations: list[str]
    window: list[int]
    scale: list[float]
    intensity_percentiles: list[float]
    intensity_gamma: float
    version: str


MODEL = BUNDLE / "models" / "model.pt"
MAPS = ["foreground", "contour", "distance"]
SIZES = [(1, 1, 16, 32, 32), (2, 1, 9, 21, 30), (3, 1, 1, 13, 2), (1, 1, 33, 65, 49)]
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the packages of the extra onnx are not installed",
)
formats = pytest.mark.parametrize("kind", [pytest.param("onnx", marks=needs_onnx), "ts"])


def generator(config: Path | None = None) -> Any:
    return configuration("inference", [config] if config else []).get_parsed_content("network_def").eval()


def note(**values: Any) -> Note:
    """The note of inference.yaml, some keys of its plan replaced."""
    found = note_of(configuration("inference", []))
    return found._replace(plan=replace(found.plan, keys={**found.plan.keys, **values}))


@pytest.fixture(scope="module")
def network() -> Any:
    trained = generator()
    load_weights(trained, MODEL, MAPS)
    return trained


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The shipped weights by the command, each format once."""
    folder = tmp_path_factory.mktemp("exported")

    def path(kind: str) -> Path:
        if not (folder / f"model.{kind}").exists():
            main(str(folder / f"model.{kind}"))
        return folder / f"model.{kind}"

    return path


def opened(path: Path) -> ExportedNetwork:
    found = ExportedNetwork().eval()
    load_weights(found, path, MAPS)
    return found


def image(*size: int) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(1)) * 2 - 1


# ---- the file --------------------------------------------------------------------------------------------------------
@torch.no_grad()
def assert_equal(run: ExportedNetwork, network: nn.Module, said: Note) -> None:
    """Maps to 1e-4; logits to 1e-4 of the largest, for their rounding grows with them."""
    for size in SIZES:
        logits, expected = run.maps(image(*size)), network(image(*size))[:, 1:]
        assert expected.std() > 0.1
        assert (activated(logits, said) - activated(expected, said)).abs().max() < 1e-4
        assert (logits - expected).abs().max() < 1e-4 * max(1, expected.abs().max())


@formats
def test_an_exported_file_gives_the_maps_of_the_weights_at_any_size(
    kind: str, exported: Callable[[str], Path], network: Any
) -> None:
    assert_equal(opened(exported(kind)), network, note())


@needs_onnx
@pytest.mark.long
def test_attention_and_replicated_borders_are_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = SegmentationGenerator(filters=(8, 16), isotropic_from=1, squeeze_excitation_bias=False).eval()
    for parameter in published.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.5)
    said = note(window=[9, 32, 32])
    found = write_export(published, tmp_path / "model.onnx", said)
    assert [size for size, _ in found] == [(1, 1, 9, 32, 32), (2, 1, 5, 16, 25), (1, 1, 12, 17, 12)]
    assert_equal(opened(tmp_path / "model.onnx"), published, said)


@formats
def test_a_file_says_what_it_is_and_how_a_volume_is_prepared(kind: str, exported: Callable[[str], Path]) -> None:
    found = opened(exported(kind)).note
    assert found is not None
    assert found.map_names == found.channel_names == MAPS
    assert found.activations == ["sigmoid", "sigmoid", "tanh"]
    assert found.plan == read_plan(exported(kind))
    expected = {"scale": [1.0, 0.5, 0.5], "window": [16, 32, 32], "intensity_percentiles": [0.5, 99.5]}
    assert {name: found.plan.keys[name] for name in expected} == expected
    written = json.loads(metadata_of(exported(kind))["cysgan"])
    assert written.keys() == set(Version041._fields), "other programs read these names"
    assert written["window"] == [16, 32, 32] and written["intensity_gamma"] == 0.5


def test_torchscript_is_read_by_monai_with_its_metadata(exported: Callable[[str], Path]) -> None:
    scripted, metadata, _ = load_net_with_metadata(str(exported("ts")))
    assert unpacked(metadata) == opened(exported("ts")).note
    assert not scripted.training
    assert scripted(image(1, 1, 4, 8, 8)).shape == (1, 3, 4, 8, 8)


@needs_onnx
def test_onnx_has_one_input_and_one_output_of_open_batch_and_size(exported: Callable[[str], Path]) -> None:
    import onnx

    model = onnx.load(exported("onnx"))
    onnx.checker.check_model(model)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": ["batch", 1, "z", "y", "x"], "maps": ["batch", 3, "z", "y", "x"]}
    assert [path.name for path in exported("onnx").parent.glob("*onnx*")] == ["model.onnx"]  # weights are within


def test_a_file_that_differs_from_the_network_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.ts").write_text("an earlier one")
    monkeypatch.setattr(file, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"not kept: maps of \(1, 1, 16, 32, 32\) differ from the network's by"):
        write_export(SegmentationGenerator(filters=(8, 16)), tmp_path / "model.ts", note())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"model.ts": "an earlier one"}
    monkeypatch.undo()
    write_export(SegmentationGenerator(filters=(8, 16)), tmp_path / "model.ts", note())
    assert opened(tmp_path / "model.ts").note == note()
    assert [path.name for path in tmp_path.iterdir()] == ["model.ts"]


# ---- in the place of the network -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    write_pair(folder, shape=(16, 64, 64), seed=3)
    return folder / "imageY.tif"


@pytest.fixture
def infer(monkeypatch: pytest.MonkeyPatch, volume: Path, tmp_path: Path) -> Callable[..., Path]:
    """Run inference.yaml with overlays, as they are; returns the folder of the results."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(name: str, *overlays: str, **overrides: Any) -> Path:
        files = [str(BUNDLE / "configs" / f"{config}.yaml") for config in ("inference", *overlays)]
        given = {"image": str(volume), "output_dir": str(tmp_path / name), "bundle_root": str(BUNDLE)}
        given |= {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
        workflow = ConfigWorkflow(config_file=files, run_id="run", logging_file=False, **given)
        workflow.initialize()
        workflow.run()
        return tmp_path / name

    return run


def maps_of(folder: Path) -> np.ndarray:
    with h5py.File(folder / "imageY_maps.h5") as maps:
        return maps["main"][()].astype(int)


@formats
def test_instances_are_those_of_the_weights(
    kind: str, exported: Callable[[str], Path], infer: Callable[..., Path]
) -> None:
    usual = infer("usual", with_image=False)
    from_file = infer("exported", "exported", model_path=exported(kind))
    instances = read_volume(usual / "imageY_instances.tif")[0]
    assert instances.max() > 0
    np.testing.assert_array_equal(read_volume(from_file / "imageY_instances.tif")[0], instances)
    off = np.abs(maps_of(from_file) - maps_of(usual))
    assert off.max() <= 1 and (off > 0).mean() < 1e-3
    for order in (["exported", "blockwise"], ["blockwise", "exported"]):
        by_blocks = infer("_".join(order), *order, model_path=exported(kind), block=[16, 64, 64])
        np.testing.assert_array_equal(open_volume(by_blocks / "instances.ome.zarr")[:], instances)


def test_the_file_of_monais_ckpt_export_is_the_whole_network_and_stands_in_for_it(
    network: Any, infer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BUNDLE)
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "whole.ts"),
        ckpt_file="models/model.pt",
        meta_file="configs/metadata.json",
        config_file="configs/inference.yaml",
    )
    whole, x = opened(tmp_path / "whole.ts"), image(2, 1, 9, 21, 30)
    with torch.no_grad():
        assert (whole(x) - network(x)).abs().max() < 1e-4
        assert torch.equal(whole.maps(x), whole(x)[:, 1:])
    results = infer("whole", "exported", model_path=tmp_path / "whole.ts", with_image=True)
    assert maps_of(results).shape == (4, 16, 64, 64)


@formats
def test_a_copy_in_another_process_is_the_same_network(kind: str, exported: Callable[[str], Path]) -> None:
    first, x = opened(exported(kind)), image(1, 1, 4, 8, 8)
    for other in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
        assert torch.equal(other.maps(x), first.maps(x))
        assert str(other) == str(first)
        assert not other.training
    assert first.digest in str(first)


def test_files_are_told_apart_by_their_content(exported: Callable[[str], Path], tmp_path: Path) -> None:
    write_export(SegmentationGenerator(filters=(8, 16)), tmp_path / "model.ts", note())
    assert str(opened(tmp_path / "model.ts")) != str(opened(exported("ts")))


# ---- a model of another target ---------------------------------------------------------------------------------------
OTHER: dict[str, Any] = {
    "representation": {
        "_target_": "scripts.representation.Representation",
        "maps": [{"_target_": "scripts.representation.Foreground"}, {"_target_": "scripts.representation.Contour"}],
    },
    "decoder": {"_target_": "scripts.watershed.BCWatershed", "seed_contour": 0.6},
    "network_def": {"_target_": "scripts.networks.SegmentationGenerator", "out_channels": 3, "filters": [8, 16]},
    "scale": [1.0, 0.5, 1.0],
    "intensity_percentiles": [2.0, 90.0],
    "intensity_gamma": 0.8,
    "window": [8, 16, 16],
    "window_padding": [0, 0, 0],
    "blending": "constant",
    "overlap": 0.25,
    "flips": 2,
    "training_voxel_size": None,
}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Weights of random values, and a plan that differs from inference.yaml in every key."""
    torch.manual_seed(0)
    network: Any = SegmentationGenerator(out_channels=3, filters=(8, 16))
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.0, 0.3)
    state = network.state_dict()
    facts = {"image_y": [{"name": "Y.tif", "shape": [9, 99, 99], "voxel_size": None}], "iterations": 7}
    state._metadata[""][METADATA] = Plan(OTHER, "0.5.0", facts).to_text()
    torch.save(state, tmp_path / "other.pt")
    return tmp_path / "other.pt"


@pytest.mark.parametrize("kind", [pytest.param("onnx", marks=[needs_onnx, pytest.mark.long]), "ts"])
def test_an_export_of_a_model_with_a_plan_gives_its_maps_without_a_flag(
    kind: str, other: Path, infer: Callable[..., Path], tmp_path: Path
) -> None:
    main(str(tmp_path / f"model.{kind}"), model=str(other))
    own, plan = read_plan(other), read_plan(tmp_path / f"model.{kind}")
    assert own is not None  # an export names every option of the decoder
    assert plan == replace(own, keys={**own.keys, "decoder": definition_of(decoder_of(own.keys["decoder"]))})
    usual = infer("usual", model_path=other, with_image=False)
    from_file = infer("exported", "exported", model_path=tmp_path / f"model.{kind}")
    assert maps_of(usual).shape == (2, 16, 64, 64) and maps_of(usual).std() > 10
    off = np.abs(maps_of(from_file) - maps_of(usual))
    assert off.max() <= 1 and (off > 0).mean() < 1e-3


def test_overlays_that_contradict_the_plan_of_the_weights_stop_an_export(other: Path, tmp_path: Path) -> None:
    for name, line in (
        ("published", "published.yaml:.*, with which .*other.pt was trained"),
        ("target_affinity", "target_affinity.yaml:.*, with which .*other.pt was trained"),
    ):
        with pytest.raises(InputError, match=line):
            main(str(tmp_path / "model.ts"), model=str(other), config=str(BUNDLE / "configs" / f"{name}.yaml"))
    with pytest.raises(InputError, match=r"--model model.onnx: found an exported network, expected weights"):
        main(str(tmp_path / "model.ts"), model="model.onnx")
    assert not (tmp_path / "model.ts").exists()


def test_a_scale_that_is_given_is_for_every_volume(other: Path, tmp_path: Path) -> None:
    (tmp_path / "scale.yaml").write_text("scale: [1.0, 1.0, 1.0]\n")
    state: Any = torch.load(other, weights_only=True)
    keys = {**OTHER, "scale": [1.0, 0.5, 0.5], "training_voxel_size": [2.0, 1.0, 1.0]}
    state._metadata[""][METADATA] = Plan(keys).to_text()
    torch.save(state, other)
    _, said = planned(str(other), str(tmp_path / "scale.yaml"))
    assert (said.plan.keys["scale"], said.plan.voxel_size) == ([1.0, 1.0, 1.0], None)
    assert said.plan.changed == {"scale": [1.0, 0.5, 0.5], "training_voxel_size": [2.0, 1.0, 1.0]}


def test_weights_without_a_plan_are_exported_with_the_configuration_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(dict(generator().state_dict()), tmp_path / "old.pt")
    main(str(tmp_path / "model.ts"), model=str(tmp_path / "old.pt"))
    assert "old.pt: carries no plan" in caplog.text
    found = read_plan(tmp_path / "model.ts")
    assert found is not None and found.keys["scale"] == [1.0, 0.5, 0.5] and found.trained_on == {}


def test_an_export_of_0_4_1_brings_its_scale_and_grey_values(
    other: Path, infer: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {name: OTHER[name] for name in ("window", "scale", "intensity_percentiles", "intensity_gamma")}
    names = ["foreground", "contour"]
    old = Version041(names, names, ["sigmoid", "sigmoid"], **values, version="0.4.1")
    monkeypatch.setattr(file, "packed", lambda _: {"cysgan": json.dumps(old._asdict())})
    main(str(tmp_path / "old.ts"), model=str(other))
    monkeypatch.undo()
    rest = {name: OTHER[name] for name in ("window_padding", "blending", "overlap", "flips")}
    results = infer("old", "target_bc", "exported", model_path=tmp_path / "old.ts", **rest)
    usual = infer("usual", model_path=other, with_image=False)
    assert np.abs(maps_of(results) - maps_of(usual)).max() <= 1
    with pytest.raises(Exception) as stopped:
        infer("out", "exported", model_path=tmp_path / "old.ts")
    assert "was trained for the maps foreground, contour, expected" in str(expected_error(stopped.value))


# ---- what is refused -------------------------------------------------------------------------------------------------
def test_another_target_than_the_files_is_refused_by_name(
    exported: Callable[[str], Path], infer: Callable[..., Path]
) -> None:
    with pytest.raises(Exception) as stopped:
        infer("out", "target_bc", "exported", model_path=exported("ts"))
    found = str(expected_error(stopped.value))
    assert "representation::maps: found 'Foreground, Contour', expected 'Foreground, Contour, SignedDistance'" in found
    assert "model.ts was trained" in found


@pytest.mark.parametrize(
    ("wanted", "words"), [("with_image", "has the maps alone, not the image"), ("amp", "runs in single precision")]
)
def test_what_a_file_cannot_give_is_refused_before_any_window(
    wanted: str, words: str, exported: Callable[[str], Path], infer: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(Exception) as stopped:
        infer("out", "exported", model_path=exported("ts"), **{wanted: True})
    assert f"model.ts: {words}" in str(expected_error(stopped.value))
    assert not (tmp_path / "out").exists()


def test_what_a_file_cannot_give_is_refused(exported: Callable[[str], Path]) -> None:
    run, x = opened(exported("ts")), image(1, 1, 4, 8, 8)
    with pytest.raises(InputError, match="has the maps alone, not the image; expected with_image: false"):
        run(x)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(InputError, match="runs in single precision; expected a"):
        run.maps(x)
    with pytest.raises(InputError, match="no file was loaded"):
        ExportedNetwork()(x)


@pytest.mark.filterwarnings("ignore:'torch.load' received a zip file:UserWarning")
def test_files_that_are_none_are_named(tmp_path: Path, exported: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"model.onnx: no such file. python -m scripts.export --out .*model.onnx"):
        opened(tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"model.pt: found the extension '.pt', expected .ts or .onnx"):
        opened(MODEL)
    (tmp_path / "cut.ts").write_bytes(exported("ts").read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut.ts: found no readable network .*. Write it again by scripts.export"):
        opened(tmp_path / "cut.ts")
    with pytest.raises(InputError, match=r"found no readable weights .* needs the overlay exported.yaml"):
        load_weights(generator(), exported("ts"))


@needs_onnx
def test_a_truncated_onnx_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x0a\x12")
    with pytest.raises(InputError, match=r"cut.onnx: found no readable network"):
        opened(tmp_path / "cut.onnx")


def test_another_network_is_refused_and_the_way_out_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"found Conv3d, expected scripts.networks.SegmentationGenerator.* ckpt_export"
    ):
        write_export(nn.Conv3d(1, 4, 1), tmp_path / "model.ts", note())
    with pytest.raises(InputError, match=r"model.h5: found the extension '.h5', expected .onnx or .ts"):
        main(str(tmp_path / "model.h5"))
    with pytest.raises(InputError, match=r"cannot be written to: .*model.pt is a file, not a folder"):
        main(str(MODEL / "model.ts"))
    with pytest.raises(InputError, match=r"published.yaml:\d+: network_def::.* with which .*model.pt was trained"):
        main(str(tmp_path / "model.ts"), config=str(BUNDLE / "configs" / "published.yaml"))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find_spec(name))
    with pytest.raises(InputError, match=r"ONNX needs .*onnxscript.* pip install .*onnxscript.* extra onnx.*\.ts"):
        main(str(tmp_path / "model.onnx"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "model.onnx").write_bytes(b"\x08")
    with pytest.raises(
        InputError, match=r"needs onnxruntime: pip install onnxruntime \(the extra onnx\), or give a \.ts"
    ):
        opened(tmp_path / "model.onnx")
