"""Sizes, equivalences and symmetries of the networks."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.networks import GroupNorm3d, NonLocalBlock, PatchDiscriminator3D, ResidualSEBlock, SegmentationGenerator

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
        network = SegmentationGenerator()
        output = network(torch.empty(2, 1, 17, 129, 129))
    assert parameters(network) == 3_650_012
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
    output = generator(padding_mode=padding_mode)(torch.full((1, 1, 6, 12, 12), 0.7))
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
    "options", [{}, {"project_lowest": False, "non_local": False}, {"channels_last": False, "padding_mode": "zeros"}]
)
def test_a_scripted_generator_gives_equal_outputs_after_saving(options: dict[str, Any]) -> None:
    network, file = generator(**options), io.BytesIO()
    torch.jit.save(torch.jit.script(network), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    for size in ((8, 16, 16), (5, 9, 11)):
        x = image(1, 1, *size)
        torch.testing.assert_close(scripted(x), network(x))
    assert list(scripted.state_dict()) == list(network.state_dict())


def test_copies_of_a_generator_are_equal_and_independent() -> None:
    network, x = generator(), image(1, 1, 4, 8, 8)
    before = network(x)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(x), before)
        nn.init.zeros_(other.exit.weight)
    assert torch.equal(network(x), before)


# ---- blocks ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("channels", "groups", "offset"), [(16, 8, 0.0), (12, 3, 3.0), (4, 4, 0.0), (6, 1, -3.0)])
def test_group_norm_and_its_gradients_are_those_of_torch(
    memory_format: torch.memory_format, channels: int, groups: int, offset: float
) -> None:
    ours, torchs = GroupNorm3d(groups, channels), nn.GroupNorm(groups, channels)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    torchs.load_state_dict(ours.state_dict())
    draw = image(3, channels, 5, 7, 6) * 2 + offset
    sides = []
    for norm in (ours, torchs):
        x = draw.clone(memory_format=memory_format).requires_grad_()
        y = norm(x)
        (y.sin() * y).sum().backward()
        sides.append([y, x.grad, norm.weight.grad, norm.bias.grad])
    for found, expected in zip(*sides, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_group_norm_has_the_state_of_torch_and_its_output_without_gradient() -> None:
    ours, torchs, x = GroupNorm3d(2, 8), nn.GroupNorm(2, 8), image(2, 8, 3, 4, 5)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    with torch.no_grad():
        assert torch.equal(ours(x), torchs(x))
    torch.testing.assert_close(ours(x.double().float()), torchs(x))


def test_group_norm_gives_a_frozen_network_the_gradient_of_its_input_alone() -> None:
    norm, x = GroupNorm3d(2, 8).requires_grad_(False), image(1, 8, 2, 3, 3).requires_grad_()
    norm(x).pow(3).sum().backward()
    assert x.grad.abs().max() > 0
    assert norm.weight.grad is None


def test_every_group_norm_of_the_generator_has_the_fast_backward() -> None:
    norms = [type(m) for m in generator().modules() if isinstance(m, nn.GroupNorm)]
    assert set(norms) == {GroupNorm3d}


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
