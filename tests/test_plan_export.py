"""The plan of exports: read from their metadata without running anything, from those of version 0.4.1 too."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.data import save_net_with_metadata
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.plan.export import EXPORTS, plan_of_export
from torch import nn

PLAN = Plan({"scale": [1.0, 0.5, 0.25], "window": [8, 16, 16], "flips": 2}, "0.5.0", {"image_y": "Y @ 4°.tif"})
OLD = {
    "map_names": ["foreground"],
    "channel_names": ["foreground"],
    "activations": ["sigmoid"],
    "window": [8, 16, 16],
    "scale": [1.0, 0.5, 0.25],
    "intensity_percentiles": [1.0, 99.0],
    "intensity_gamma": 0.7,
    "version": "0.4.1",
}


def torchscript(path: Path, metadata: Mapping[str, str]) -> None:
    save_net_with_metadata(torch.jit.trace(nn.Linear(1, 1), torch.ones(1)), str(path), meta_values=metadata)


def onnx(path: Path, metadata: Mapping[str, str]) -> None:
    helper = pytest.importorskip("onnx").helper
    pytest.importorskip("onnxruntime")
    ends = [helper.make_tensor_value_info(name, 1, [1]) for name in ("image", "maps")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["maps"])], "network", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, dict(metadata))
    path.write_bytes(model.SerializeToString())


def package(path: Path, metadata: Mapping[str, str]) -> None:
    own = {**json.loads(metadata.get("cysgan", "{}")), **{name: metadata[name] for name in metadata if name == "plan"}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bioimageio.yaml", yaml.safe_dump({"type": "model", "config": {"cysgan": own}}))


@pytest.fixture(params=[onnx, torchscript, package], ids=EXPORTS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Write a file of each kind with these metadata."""
    ending = EXPORTS[[onnx, torchscript, package].index(request.param)]

    def write(metadata: Mapping[str, str]) -> Path:
        request.param(tmp_path / f"model{ending}", metadata)
        return tmp_path / f"model{ending}"

    return write


def test_an_export_carries_its_plan(written: Callable[[Mapping[str, str]], Path]) -> None:
    assert plan_of_export(written({"plan": PLAN.to_text(), "cysgan": json.dumps({"scale": [9, 9, 9]})})) == PLAN
    assert plan_of_export(written({})) is None
    with pytest.raises(InputError, match=r"model\.\w+.*: found a plan of format 9"):
        plan_of_export(written({"plan": json.dumps({"format": 9})}))


def test_an_export_of_0_4_1_has_the_grey_values_scale_and_window_as_its_plan(
    written: Callable[[Mapping[str, str]], Path],
) -> None:
    names = ("scale", "intensity_percentiles", "intensity_gamma", "window")
    assert plan_of_export(written({"cysgan": json.dumps(OLD)})) == Plan({name: OLD[name] for name in names}, "0.4.1")
    hostile: dict[str, Any] = {**OLD, "scale": "$__import__('os').system('true')"}
    with pytest.raises(InputError, match=r"plan: found .*expected plain values"):
        plan_of_export(written({"cysgan": json.dumps(hostile)}))


@pytest.mark.parametrize("ending", EXPORTS)
def test_an_export_that_cannot_be_read_is_named(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{ending}"
    with pytest.raises(InputError, match=rf"model{ending}: no such file"):
        plan_of_export(path)
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(InputError, match=rf"model{ending}: found no readable network .*Write it again"):
        plan_of_export(path)
