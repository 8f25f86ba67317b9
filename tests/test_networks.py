"""Sizes, equivalences and symmetries of the networks."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from scripts.networks import (
    ChannelNorm,
    NonLocalBlock,
    PatchDiscriminator3D,
    ResidualSEBlock,
    SegmentationGenerator,
    layer,
)
from scripts.networks.convolution import Geometry, conv
from torch import Tensor, nn

CONFIGS = Path(__file__).resolve().parents[1] / "bundle" / "configs"
NORM = ("group", {"num_groups": 8})
TINY: dict[str, Any] = {"filters": (8, 16), "isotropic_from": 1}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def generator(**options: Any) -> SegmentationGenerator:
    """Small and seeded, with norms away from 1 and 0 so that every layer matters."""
    torch.manual_seed(0)
    network = SegmentationGenerator(**(TINY | options))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.5)
    return network.eval()


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


# ---- generator -------------------------------------------------------------------------------------------------------
def test_the_published_generator_has_its_parameters_and_keeps_the_size() -> None:
    with torch.device("meta"):
        network = SegmentationGenerator(squeeze_excitation_bias=False)
        output = network(torch.empty(2, 1, 17, 129, 129))
    assert parameters(network) == 3_649_012
    assert output.shape == (2, 4, 17, 129, 129)


@pytest.mark.parametrize("size", [(8, 16, 16), (5, 17, 23), (1, 9, 13), (7, 3, 2), (2, 1, 1)])
@pytest.mark.parametrize("filters", [(8, 16), (8, 8, 16, 24)])
def test_any_size_passes_the_generator(size: tuple[int, ...], filters: tuple[int, ...]) -> None:
    output = generator(filters=filters, isotropic_from=2)(image(2, 1, *size))
    assert output.shape == (2, 4, *size)
    assert torch.isfinite(output).all()


def test_one_channel_more_than_maps_comes_out() -> None:
    assert generator(out_channels=7, in_channels=2)(image(1, 2, 4, 8, 8)).shape[1] == 7


def test_without_kernels_across_sections_their_order_does_not_matter() -> None:
    x, order = image(1, 1, 6, 12, 12), torch.tensor([3, 0, 5, 1, 4, 2])
    plane = generator(isotropic_from=2, project_lowest=False)
    torch.testing.assert_close(plane(x[:, :, order]), plane(x)[:, :, order], rtol=1e-4, atol=1e-5)
    solid = generator(isotropic_from=1, project_lowest=False)
    assert (solid(x[:, :, order]) - solid(x)[:, :, order]).abs().max() > 1e-2


@pytest.mark.parametrize(("padding_mode", "flat"), [("replicate", True), ("zeros", False)])
def test_replicate_padding_leaves_no_mark_at_the_border(padding_mode: str, flat: bool) -> None:
    # Not group norm, which of a volume without contrast shows rounding errors enlarged.
    output = generator(padding_mode=padding_mode, norm="batch").eval()(torch.full((1, 1, 6, 12, 12), 0.7))
    spread = output.amax((2, 3, 4)) - output.amin((2, 3, 4))
    assert bool(spread.max() < 1e-4) == flat


def test_channels_last_changes_the_order_in_memory_and_nothing_else() -> None:
    last, first, x = generator(channels_last=True), generator(channels_last=False), image(2, 1, 5, 9, 11)
    kernel = "down.1.0.0.weight"
    assert last.state_dict()[kernel].is_contiguous(memory_format=torch.channels_last_3d)
    assert first.state_dict()[kernel].is_contiguous()
    torch.testing.assert_close(last(x), first(x), rtol=1e-4, atol=1e-5)


def test_the_plus_form_and_the_attention_can_be_left_out() -> None:
    full, plain = generator(), generator(project_lowest=False, non_local=False)
    missing = {name.split(".")[0] for name in full.state_dict().keys() - plain.state_dict().keys()}
    assert missing == {"project", "attention"}
    assert plain.state_dict().keys() <= full.state_dict().keys()


@pytest.mark.parametrize("norm", ["batch", ["instance", {"affine": True}], ("group", {"num_groups": 4})])
def test_a_norm_is_named_as_in_a_configuration(norm: Any) -> None:
    assert generator(norm=norm)(image(1, 1, 4, 8, 8)).shape == (1, 4, 4, 8, 8)


@pytest.mark.parametrize(
    "options",
    [
        {"squeeze_excitation_bias": False},
        {"project_lowest": False, "non_local": False},
        {"channels_last": False, "padding_mode": "zeros"},
    ],
)
def test_a_scripted_generator_gives_equal_outputs_after_saving(options: dict[str, Any]) -> None:
    network, file = generator(**options).double(), io.BytesIO()
    torch.jit.save(torch.jit.script(network), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    for size in ((8, 16, 16), (5, 9, 11)):
        x = image(1, 1, *size).double()
        torch.testing.assert_close(scripted(x), network(x))
    assert list(scripted.state_dict()) == list(network.state_dict())


def test_copies_of_a_generator_are_equal_and_independent() -> None:
    network, x = generator(), image(1, 1, 4, 8, 8)
    before = network(x)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(x), before)
        nn.init.zeros_(other.exit.weight)
    assert torch.equal(network(x), before)


# ---- the same in another form ----------------------------------------------------------------------------------------
def outcome(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Output and every gradient, by two walks back as the trainer takes them: one to the input alone, one to all."""
    x = x.detach().requires_grad_()
    y = network(x)
    (to_input,) = torch.autograd.grad(y.sin().sum(), x, retain_graph=True)
    network.zero_grad()
    (y.pow(2).sum() + y.sum()).backward()
    assert x.grad is not None
    parts = {"output": y.detach(), "to the input": to_input, "all to the input": x.grad}
    parts |= {name: buffer.clone() for name, buffer in network.named_buffers()}
    return parts | {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To 1e-12, of the largest gradient where one is 0 but for rounding, such as that of a bias before a norm."""
    assert found.keys() == expected.keys()
    largest = max(value.abs().max() for value in expected.values())
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12 * float(largest), msg=name)


FORMS: list[dict[str, Any]] = [
    {},
    {"padding_mode": "reflect", "project_lowest": False},
    {"filters": (8, 16, 24), "isotropic_from": 0, "blocks_isotropic_from": 0, "padding_mode": "zeros"},
    {"norm": "batch"},
    {"norm": ("instance", {"affine": True, "track_running_stats": True})},
    {"norm": "channel", "squeeze_excitation": False, "non_local": False},
    {"channels_last": False, "squeeze_excitation_bias": False},
]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_convolutions_of_sections_give_the_gradients_of_torchs_layers(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], batch: int
) -> None:
    network, x = generator(**options).train().double(), image(batch, 1, 5, 11, 12).double()
    plain = copy.deepcopy(network)
    found = outcome(network, x)
    monkeypatch.setattr(layer.Convolution, "forward", lambda self, x: self._conv_forward(x, self.weight, self.bias))
    assert_same(found, outcome(plain, x))


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_generator_that_is_worked_out_again_has_the_same_gradients_and_statistics(options: dict[str, Any]) -> None:
    network, x = generator(**options).train().double(), image(2, 1, 5, 11, 12).double()
    again = copy.deepcopy(network)
    again.checkpoint_activations = True
    assert_same(outcome(again, x), outcome(network, x))


def kept(network: nn.Module, x: Tensor) -> int:
    """Bytes that a forward pass keeps for the backward one, the parameters aside."""
    seen = {p.untyped_storage().data_ptr() for p in network.parameters()}
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = network(x)
    assert output.requires_grad
    return sum(sizes.values())


def test_two_fifths_are_kept_for_the_backward_pass_where_stages_are_worked_out_again() -> None:
    network, x = generator(filters=(16, 32)), image(2, 1, 8, 32, 32)
    whole = kept(network, x)
    network.checkpoint_activations = True
    assert kept(network, x) < 0.4 * whole


def test_a_frozen_network_hands_the_gradient_on_and_takes_none() -> None:
    network, x = generator().requires_grad_(False), image(1, 1, 4, 8, 8).requires_grad_()
    network(x).pow(2).sum().backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
@pytest.mark.parametrize(("kernel", "stride"), [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((3, 1, 3), (1, 1, 1))])
def test_convolution_is_that_of_torch_in_every_form(
    mode: str, kernel: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel)
    theirs = nn.Conv3d(4, 6, kernel, stride, padding, padding_mode=mode)
    for memory in (torch.contiguous_format, torch.channels_last_3d):
        for batch in (1, 2):
            x = image(batch, 4, 5, 7, 6).contiguous(memory_format=memory)
            found = conv(x, theirs.weight, theirs.bias, Geometry(stride, padding, mode))
            torch.testing.assert_close(found, theirs(x))


def test_bfloat16_gradients_point_where_those_of_single_precision_do() -> None:
    network, x = generator(filters=(16, 32)).train(), image(2, 1, 6, 24, 24)

    def direction(amp: bool) -> Tensor:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            y = network(x)
        (y.float().tanh() - x).pow(2).mean().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    assert nn.functional.cosine_similarity(direction(True), direction(False), dim=0) > 0.99


def test_maps_are_the_channels_after_the_image() -> None:
    network, x = generator(), image(1, 1, 5, 9, 11)
    with torch.no_grad():
        torch.testing.assert_close(network.maps(x), network(x)[:, 1:])


def test_a_copy_without_the_image_gives_the_maps_and_leaves_the_network_as_it_is() -> None:
    network, x = generator(), image(1, 1, 5, 9, 11)
    with torch.no_grad():
        before = network(x)
        torch.testing.assert_close(network.without_image()(x), before[:, 1:])
        assert torch.equal(network(x), before)


def test_squeeze_excitation_without_biases_is_that_with_biases_of_zero() -> None:
    network, plain, x = generator(), generator(squeeze_excitation_bias=False), image(1, 1, 5, 9, 11)
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if name in plain.state_dict()})
    dropped = network.state_dict().keys() - plain.state_dict().keys()
    assert {name.partition(".fc.")[2] for name in dropped} == {"0.bias", "2.bias"}
    with torch.no_grad():
        assert (network(x) - plain(x)).abs().max() > 1e-3
        for name in dropped:
            network.get_parameter(name).zero_()
        torch.testing.assert_close(network(x), plain(x))


def test_channel_norm_sees_one_voxel_at_a_time() -> None:
    norm, x = ChannelNorm(8), image(1, 8, 3, 4, 5)
    torch.testing.assert_close(norm(x)[:, :, 1:, :2], norm(x[:, :, 1:, :2]))
    torch.testing.assert_close(norm(x).mean(1), torch.zeros(1, 3, 4, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("options", "independent"), [("tile_independent", True), (None, False)])
def test_what_a_window_shows_far_away_matters_only_to_the_published_network(
    options: str | None, independent: bool
) -> None:
    own = yaml.safe_load((CONFIGS / f"{options}.yaml").read_text()) if options else {}
    network = generator(**{key.split("::")[1]: value for key, value in own.items() if "::" in key})
    x = image(1, 1, 5, 65, 65)
    other = x.clone()
    other[..., 40:, 40:] += 3
    with torch.no_grad():
        change = (network(x) - network(other)).abs()
    assert change[..., 48:, 48:].max() > 0.1
    assert (float(change[..., :16, :16].max()) == 0) == independent


# ---- blocks ----------------------------------------------------------------------------------------------------------
def test_attention_is_the_identity_at_start_and_learns() -> None:
    block, x = NonLocalBlock(16, NORM), image(2, 16, 2, 4, 4)
    y = block(x)
    assert torch.equal(y, x)
    y.pow(3).sum().backward()
    assert block.out[1].weight.grad.abs().max() > 0


def test_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    block, x = NonLocalBlock(8, NORM), image(1, 8, 2, 2, 3)
    block.out[1] = nn.Identity()
    query, key, value = (f(x)[0].flatten(1).detach().numpy().T for f in (block.query, block.key, block.value))
    attended = torch.zeros(1, 4, 12)
    for i in range(12):
        weights = torch.softmax(torch.tensor([float(query[i] @ key[j]) for j in range(12)]), 0)
        attended[0, :, i] = sum(float(w) * torch.from_numpy(value[j]) for j, w in enumerate(weights))
    torch.testing.assert_close(block(x), x + block.out(attended.view(1, 4, 2, 2, 3)), rtol=1e-4, atol=1e-5)


def test_a_residual_block_whose_last_norm_is_zero_is_its_activation() -> None:
    block, x = ResidualSEBlock(8, (1, 3, 3), "replicate", NORM), image(1, 8, 2, 5, 5)
    for parameter in block.conv[2].parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(block(x), nn.functional.leaky_relu(x, 0.2))


# ---- discriminator ---------------------------------------------------------------------------------------------------
def test_the_published_discriminator_has_its_parameters_and_its_grid_of_scores() -> None:
    with torch.device("meta"):
        network = PatchDiscriminator3D()
        scores = network(torch.empty(2, 1, 17, 129, 129))
    assert parameters(network) == 1_446_209
    assert scores.shape == (2, 1, 9, 9, 9)


def discriminator() -> PatchDiscriminator3D:
    torch.manual_seed(0)
    strides = ((1, 2, 2), (2, 2, 2), (1, 1, 1))
    return PatchDiscriminator3D(3, filters=(8, 16), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)), strides=strides)


def test_scores_of_a_sample_do_not_depend_on_the_others() -> None:
    network, x = discriminator(), image(4, 3, 8, 16, 16)
    torch.testing.assert_close(torch.cat([network(sample[None]) for sample in x]), network(x), rtol=1e-4, atol=1e-5)


def test_scores_have_no_activation_and_norms_no_parameters() -> None:
    network = discriminator()
    scores = network(image(2, 3, 8, 16, 16) * 10)
    assert scores.min() < 0
    assert [name for name, p in network.named_parameters() if p.ndim == 1] == ["layers.2.bias"]


def test_kernels_and_strides_that_do_not_match_the_filters_are_refused() -> None:
    with pytest.raises(ValueError, match="2 filters need 3 kernels and strides, got 6 and 2"):
        PatchDiscriminator3D(filters=(8, 16), strides=((1, 2, 2), (1, 2, 2)))


def test_blocks_cross_depth_only_from_the_stage_asked_for() -> None:
    def kernels(generator: SegmentationGenerator) -> list[tuple[int, ...]]:
        return [stage[1].conv[0][0].kernel_size for stage in generator.down]

    assert kernels(SegmentationGenerator(filters=(8, 16, 24))) == [(1, 3, 3)] * 3
    deep = SegmentationGenerator(filters=(8, 16, 24), blocks_isotropic_from=1)
    assert kernels(deep) == [(1, 3, 3), (3, 3, 3), (3, 3, 3)]
    assert [merge.conv[0][0].kernel_size for merge in deep.merge] == [(1, 3, 3), (3, 3, 3)]
