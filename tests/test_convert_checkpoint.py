"""Checkpoints of the authors' code: converted, the network gives what theirs gives; others are refused by name."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scripts.check.overlay import configuration
from scripts.checkpoint import load_weights
from scripts.command.bundle import BUNDLE
from scripts.convert_checkpoint import main, renamed
from scripts.errors import InputError
from scripts.plan.file import read_plan
from torch import Tensor

State = dict[str, Tensor]
FILTERS = (32, 64, 96, 128, 160)
PUBLISHED = BUNDLE / "configs" / "published.yaml"


# ---- the published network, by its description: every layer written out, under the names of its checkpoints ----------
def reference_state(filters: tuple[int, ...] = FILTERS, outputs: int = 4, seed: int = 0) -> State:
    """Random weights, norms away from 1 and 0 so that every layer matters."""
    draws, state = torch.Generator().manual_seed(seed), State()

    def add(name: str, *shape: int) -> None:
        fan_in = int(np.prod(shape[1:]))
        state[name] = torch.randn(shape, generator=draws) / fan_in**0.5 + (0.5 if len(shape) == 1 else 0)

    def convolution(name: str, low: int, high: int, *kernel: int) -> None:
        add(f"{name}.0.weight", high, low, *kernel)
        add(f"{name}.1.weight", high)
        add(f"{name}.1.bias", high)

    def block(name: str, width: int) -> None:
        convolution(f"{name}.conv.0.0", width, width, 1, 3, 3)
        convolution(f"{name}.conv.0.1", width, width, 1, 3, 3)
        add(f"{name}.conv.1.fc.0.weight", width // 4, width)
        add(f"{name}.conv.1.fc.2.weight", width, width // 4)

    convolution("conv_in", 1, filters[0], 1, 5, 5)
    add("conv_out.0.weight", outputs, filters[0], 1, 5, 5)
    add("conv_out.0.bias", outputs)
    for i, width in enumerate(filters):
        convolution(f"down_layers.{i}.1", filters[max(0, i - 1)], width, *((1, 3, 3) if i < 3 else (3, 3, 3)))
        block(f"down_layers.{i}.2", width)
    for i, width in enumerate(filters[:-1]):
        convolution(f"up_layers.{i}.0", filters[i + 1], width, *((1, 3, 3) if i < 2 else (3, 3, 3)))
        block(f"up_layers.{i}.1", width)
        convolution(f"feat_layers.{i}", filters[-1], width, 1, 1, 1)
    for name in ("g", "theta", "phi"):
        add(f"non_local.{name}.weight", filters[-1] // 2, filters[-1], 1, 1, 1)
        add(f"non_local.{name}.bias", filters[-1] // 2)
    add("non_local.W.0.weight", filters[-1], filters[-1] // 2, 1, 1, 1)
    for name in ("W.0.bias", "W.1.weight", "W.1.bias"):
        add(f"non_local.{name}", filters[-1])
    return state


def reference_output(state: State, image: Tensor) -> Tensor:
    """What the published network makes of an image (1, 1, Z, Y, X)."""
    stages = sum(name.endswith(".2.conv.1.fc.0.weight") for name in state)

    def convolved(name: str, x: Tensor, stride: tuple[int, ...] = (1, 1, 1), padding: int | None = None) -> Tensor:
        weight = state[f"{name}.weight"]
        sides = [side // 2 if padding is None else padding for side in weight.shape[2:]]
        x = F.pad(x, [side for side in reversed(sides) for _ in range(2)], mode="replicate")
        return F.conv3d(x, weight, state.get(f"{name}.bias"), stride)

    def normalised(name: str, x: Tensor) -> Tensor:
        groups = x.reshape(8, -1)
        groups = (groups - groups.mean(1, keepdim=True)) / (groups.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        rows = groups.reshape(x.shape[1], -1) * state[f"{name}.weight"][:, None] + state[f"{name}.bias"][:, None]
        return rows.reshape(x.shape)

    def activated(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    def layer(name: str, x: Tensor, **options: Any) -> Tensor:
        return activated(normalised(f"{name}.1", convolved(f"{name}.0", x, **options)))

    def block(name: str, x: Tensor) -> Tensor:
        y = normalised(f"{name}.conv.0.1.1", convolved(f"{name}.conv.0.1.0", layer(f"{name}.conv.0.0", x)))
        squeezed = activated(state[f"{name}.conv.1.fc.0.weight"] @ y[0].flatten(1).mean(1))
        share = torch.sigmoid(state[f"{name}.conv.1.fc.2.weight"] @ squeezed)
        return activated(y * share[:, None, None, None] + x)

    def enlarged(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, like.shape[2:], mode="trilinear", align_corners=True)

    def attended(x: Tensor) -> Tensor:
        theta, phi, g = (convolved(f"non_local.{name}", x)[0].flatten(1) for name in ("theta", "phi", "g"))
        mixed = g @ torch.softmax(theta.T @ phi, dim=1).T
        return x + normalised("non_local.W.1", convolved("non_local.W.0", mixed.reshape(1, -1, *x.shape[2:])))

    x, skips = layer("conv_in", image), []
    for i in range(stages):
        stride = (1, 1, 1) if i == 0 else (1, 2, 2) if i < 3 else (2, 2, 2)
        x = block(f"down_layers.{i}.2", layer(f"down_layers.{i}.1", x, stride=stride))
        skips.append(x)
    x = lowest = attended(skips.pop())
    for i in reversed(range(stages - 1)):
        skip = skips.pop()
        x = enlarged(layer(f"up_layers.{i}.0", x), skip) + skip
        # a kernel of one voxel, and yet the border is repeated around what it is given
        x = block(f"up_layers.{i}.1", x + enlarged(layer(f"feat_layers.{i}", lowest, padding=1), x))
    return convolved("conv_out.0", x)


def checkpoint(state: State, **others: Any) -> dict[str, Any]:
    """What the authors' trainer saves, the other networks and optimisers left out."""
    schedule = {"last_epoch": 100000, "base_lrs": [np.float64(2e-3)], "_last_lr": [np.float32(0)]}
    return {"iteration": 100000, "Gb": {"state_dict": state, "optimizer": {}, "lr_scheduler": schedule}, **others}


@pytest.fixture(scope="module")
def weights() -> State:
    return reference_state()


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def written(content: Any, **options: Any) -> Path:
        torch.save(content, tmp_path / "checkpoint_100000.pth.tar", **options)
        return tmp_path / "checkpoint_100000.pth.tar"

    return written


def network(*overlays: Path) -> Any:
    return configuration("inference", overlays).get_parsed_content("network_def")


# ---- conversion ------------------------------------------------------------------------------------------------------
def test_the_published_network_is_the_references_parameter_for_parameter(weights: State) -> None:
    theirs = {name: value.shape for name, value in renamed(weights).items()}
    assert theirs == {name: value.shape for name, value in network(PUBLISHED).state_dict().items()}
    assert sum(shape.numel() for shape in theirs.values()) == 3_649_012


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_converted_network_gives_what_the_references_gives(
    weights: State, save: Save, tmp_path: Path, prefix: str
) -> None:
    main(str(save(checkpoint({prefix + name: value for name, value in weights.items()}))), str(tmp_path / "model.pt"))
    ours = network(PUBLISHED).eval()
    load_weights(ours, tmp_path / "model.pt", ["foreground", "contour", "distance"])
    exact = {name: value.double() for name, value in weights.items()}
    for size in ((9, 33, 35), (5, 20, 17)):
        x = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        expected = reference_output(exact, x.double())
        with torch.no_grad():
            single, double = ours.float()(x), ours.double()(x.double())
        assert expected.std() > 0.1
        assert (single - expected).abs().max() < 1e-4
        torch.testing.assert_close(double, expected, rtol=1e-9, atol=1e-9)


def test_two_maps_are_converted_with_their_overlay_and_noted(
    save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = save(checkpoint(reference_state(outputs=3)), _use_new_zipfile_serialization=False), "target_bc.yaml"
    overlays = [PUBLISHED, PUBLISHED.with_name(target)]
    arguments = [str(path), str(tmp_path / "model.pt"), "--config", ",".join(map(str, overlays))]
    monkeypatch.setattr(sys, "argv", ["scripts.convert_checkpoint", *arguments])
    monkeypatch.delitem(sys.modules, "scripts.convert_checkpoint")
    runpy.run_module("scripts.convert_checkpoint", run_name="__main__")
    assert "image, foreground, contour\n" in capsys.readouterr().out
    plan = read_plan(tmp_path / "model.pt")
    assert plan is not None and sorted(plan.keys) == ["decoder", "network_def", "representation"]
    assert plan.keys["network_def"]["out_channels"] == 3 and plan.keys["network_def"]["filters"] == list(FILTERS)
    assert plan.trained_on == {"converted_from": path.name}
    load_weights(network(*overlays), tmp_path / "model.pt", ["foreground", "contour"])
    with pytest.raises(
        InputError, match="was trained for the maps foreground, contour, expected foreground, contour, d"
    ):
        load_weights(network(PUBLISHED), tmp_path / "model.pt", ["foreground", "contour", "distance"])


# ---- what is refused -------------------------------------------------------------------------------------------------
class Foreign:
    """Something that only code can make."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"state_dict": {}, "iteration": 5},
            "found state_dict, iteration; expected the entries of a CySGAN checkpoint",
        ),
        ({"entry.0.weight": torch.zeros(1)}, r"found entry.0.weight; .* Weights that training here wrote need no"),
        ({"Gb": torch.zeros(2)}, "found Gb; .* and a state_dict in Gb"),
        ([1, 2], "found list; expected the entries"),
        ({"Gb": Foreign()}, "found no readable checkpoint .* one that holds other things than tensors and numbers"),
    ],
    ids=["another trainer", "ours", "no state dict", "no dictionary", "code"],
)
def test_a_file_that_is_no_checkpoint_of_the_reference_is_named(
    content: Any, message: str, save: Save, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        main(str(save(content)), str(tmp_path / "model.pt"))
    assert not (tmp_path / "model.pt").exists()


def test_a_truncated_and_a_missing_file_are_named(weights: State, save: Save, tmp_path: Path) -> None:
    path = save(checkpoint(weights))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"100000.pth.tar: found no readable checkpoint .*; expected a whole"):
        main(str(path), str(tmp_path / "model.pt"))
    path.unlink()
    with pytest.raises(InputError, match=r"100000.pth.tar: no such file. Expected a checkpoint_"):
        main(str(path), str(tmp_path / "model.pt"))


def without(state: State, *parts: str) -> State:
    return {name: value for name, value in state.items() if not name.startswith(parts)}


@pytest.mark.parametrize(
    ("other", "first"),
    [
        (lambda state: reference_state((28, 36, 48, 64, 80)), r"'entry.0.weight': \(28, 1, 1, 5, 5\) in the file"),
        (lambda state: without(state, "feat_layers", "non_local"), "'attention.query.weight': nothing in the file"),
        (
            lambda state: state | {"conv_in.1.running_mean": torch.zeros(32)},
            "'entry.1.running_mean': .* nothing in the n",
        ),
        (
            lambda state: state | {"backbone.stem.weight": torch.zeros(2)},
            "'backbone.stem.weight': .* nothing in the netw",
        ),
        (lambda state: reference_state(outputs=3), r"'exit.weight': \(3, 32, 1, 5, 5\) in the file"),
    ],
    ids=["widths", "not the plus form", "batch norm", "backbone", "maps"],
)
def test_another_architecture_is_named_by_what_differs_first(
    other: Callable[[State], State], first: str, weights: State, save: Save, tmp_path: Path
) -> None:
    path = save(checkpoint(other(weights)))
    with pytest.raises(InputError, match=rf"100000.pth.tar, Gb: does not fit .*{first}.*MODEL.ARCHITECTURE has to be"):
        main(str(path), str(tmp_path / "model.pt"))
    assert not (tmp_path / "model.pt").exists()


def test_weights_that_are_there_stay(weights: State, save: Save, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("precious")
    with pytest.raises(InputError, match=r"model.pt exists already; expected a new name"):
        main(str(save(checkpoint(weights))), str(tmp_path / "model.pt"))
    assert (tmp_path / "model.pt").read_text() == "precious"
