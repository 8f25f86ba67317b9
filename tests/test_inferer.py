"""MapInferer: whatever the window, a pointwise network gives the pointwise answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer, sliding_window_inference
from scripts.errors import InputError
from scripts.inferer import MapInferer
from scripts.inferer.orientation import orient, orientations, restore
from scripts.inferer.window import window_weights
from torch import nn


class ThreeMaps:
    """Two sigmoid maps and a tanh one."""

    channels = 3

    def activate(self, logits: torch.Tensor) -> torch.Tensor:
        """Activate."""
        return torch.cat([torch.sigmoid(logits[:, :2]), torch.tanh(logits[:, 2:])], 1)

    def to_unit(self, activated: torch.Tensor) -> torch.Tensor:
        """Scale to [0, 1]."""
        return torch.cat([activated[:, :2], (activated[:, 2:] + 1) / 2], 1)


class Pointwise(nn.Module):
    """Logits are fixed multiples of the voxel: what window it lies in cannot matter."""

    def __init__(self) -> None:
        """Count the windows and keep their shapes."""
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 1, ...) to (B, 4, ...)."""
        self.shapes.append(tuple(x.shape))
        return torch.cat([x, 2 * x, -x, 0.5 * x], 1)


def expected(x: torch.Tensor) -> torch.Tensor:
    """The image and the three maps that Pointwise must give."""
    maps = [(torch.tanh(x) + 1) / 2, torch.sigmoid(2 * x), torch.sigmoid(-x), (torch.tanh(0.5 * x) + 1) / 2]
    return torch.cat(maps, 1)


def pad_by_reflection(volume: torch.Tensor, padding: tuple[int, ...]) -> torch.Tensor:
    """Pad both ends of z, y and x of (B, C, Z, Y, X); what a short side cannot reflect is replicated."""
    fits = [min(p, n - 1) for p, n in zip(padding, volume.shape[2:], strict=True)]
    rest = [p - fit for p, fit in zip(padding, fits, strict=True)]
    for sides, mode in ((fits, "reflect"), (rest, "replicate")):
        if any(sides):
            volume = F.pad(volume, [side for side in reversed(sides) for _ in range(2)], mode=mode)
    return volume


@pytest.fixture
def volume() -> torch.Tensor:
    """A random volume (1, 1, 9, 21, 26) in [-1, 1]."""
    return torch.rand(1, 1, 9, 21, 26, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("window", [(9, 17, 17), (5, 8, 11), (33, 257, 257), (-1, 16, 16)])
@pytest.mark.parametrize(("overlap", "mode"), [(0.5, "gaussian"), (0.25, "constant"), ((0.0, 0.5, 0.75), "gaussian")])
@pytest.mark.parametrize("padding", [0, (4, 16, 16), (20, 30, 1)])
def test_pointwise_network_gives_the_activated_input(volume, window, overlap, mode, padding):
    inferer = MapInferer(ThreeMaps(), window, 2, overlap, mode, padding=padding, progress=False)
    maps = inferer(volume, Pointwise())
    assert maps.shape == (1, 3, 9, 21, 26) and maps.dtype == torch.float32
    torch.testing.assert_close(maps, expected(volume)[:, 1:], atol=2e-6, rtol=0)


@pytest.mark.parametrize("flips", [1, 2, 4, 8, 16])
def test_flips_leave_a_pointwise_network_alone_and_are_each_run(volume, flips):
    network = Pointwise()
    maps = MapInferer(ThreeMaps(), (9, 21, 26), padding=0, flips=flips, progress=False)(volume, network)
    torch.testing.assert_close(maps, expected(volume)[:, 1:], atol=2e-6, rtol=0)
    assert len(network.shapes) == flips


@pytest.mark.parametrize(("flips", "same"), [(2, [-1]), (4, [-2, -1]), (8, [-3, -2, -1])])
def test_flips_make_a_directed_network_symmetric(volume, flips, same):
    ramp = torch.linspace(-1, 1, 26) + torch.linspace(-1, 1, 21)[:, None] + torch.linspace(-1, 1, 9)[:, None, None]
    inferer = MapInferer(ThreeMaps(), (9, 21, 26), padding=0, flips=flips, progress=False)

    def directed(x: torch.Tensor) -> torch.Tensor:
        return (x + ramp).expand(-1, 4, -1, -1, -1)

    maps = inferer(volume * 0, directed)
    for axis in (-3, -2, -1):
        assert torch.allclose(maps, maps.flip(axis), atol=1e-6) == (axis in same)


def test_every_orientation_is_another_one_and_is_undone():
    volume = torch.arange(2 * 3 * 4.0).reshape(1, 1, 2, 3, 4)
    turned = [orient(volume, turn) for turn in orientations(16)]
    assert len(turned) == 16
    assert not any(a.shape == b.shape and torch.equal(a, b) for a, b in itertools.combinations(turned, 2))
    for turn in orientations(16):
        torch.testing.assert_close(restore(orient(volume, turn), turn), volume)


def test_the_translated_image_comes_first(volume):
    maps = MapInferer(ThreeMaps(), (5, 8, 11), with_image=True, progress=False)(volume, Pointwise())
    torch.testing.assert_close(maps, expected(volume), atol=2e-6, rtol=0)


def test_a_volume_smaller_than_the_window_is_one_clipped_window(volume):
    network = Pointwise()
    MapInferer(ThreeMaps(), padding=(4, 16, 16), progress=False)(volume, network)
    assert network.shapes == [(1, 1, 9 + 8, 21 + 32, 26 + 32)]


def test_published_window_has_the_published_stride():
    starts = []
    inferer = MapInferer(ThreeMaps(), padding=0, progress=False)
    z, y = torch.arange(70.0), torch.arange(300.0)

    def remember(x: torch.Tensor) -> torch.Tensor:
        starts.append((int(x[0, 0, 0, 0, 0]) // 1000, int(x[0, 0, 0, 0, 0]) % 1000))
        return torch.zeros(len(x), 4, *x.shape[2:])

    coordinates = (z[:, None, None] * 1000 + y[:, None]).expand(70, 300, 257)
    inferer(coordinates[None, None], remember)
    assert starts == [(i, j) for i in (0, 16, 32, 37) for j in (0, 43)]  # the last window is tucked in


def test_weights_are_the_gaussian_of_the_reference(volume):
    """Along one axis: sigma is 0.2 of a grid that runs from -1 to 1 over the window."""
    side = 257
    inferer = MapInferer(ThreeMaps(), (1, 1, side), padding=0, progress=False)
    starts = iter([0.0, 1.0, 0.0])

    def numbered(x: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 4, *x.shape[2:]), next(starts) * 200 - 100)  # sigmoid: 0, 1, 0

    got = inferer(torch.zeros(1, 1, 1, 1, side + 2 * 128), numbered)[0, 0, 0, 0]
    grid = torch.linspace(-1, 1, side)
    weight = torch.exp(-(grid**2) / (2 * 0.2**2)).clamp(min=1e-3)
    want = weight[:128] / (weight[:128] + weight[128:256])
    torch.testing.assert_close(got[128:256], want, atol=2e-2, rtol=0)


def test_progress_counts_every_window(volume, capsys):
    network = Pointwise()
    MapInferer(ThreeMaps(), (5, 8, 11), 1, 0.5, padding=(4, 3, 0))(volume, network)
    line = capsys.readouterr().err
    assert "maps: 100%" in line and f"{len(network.shapes)}/{len(network.shapes)}" in line


def test_progress_can_be_silent(volume, capsys):
    MapInferer(ThreeMaps(), (5, 8, 11), progress=False)(volume, Pointwise())
    assert capsys.readouterr().err == ""


def test_the_network_and_the_input_are_left_as_they_were(volume):
    network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Dropout(0.0)).train()
    before = volume.clone()
    maps = MapInferer(ThreeMaps(), (5, 8, 11), progress=False)(volume, network)
    assert network.training and torch.equal(volume, before)
    assert not maps.requires_grad and all(p.grad is None for p in network.parameters())


def test_half_precision_outside_gives_float32_maps(volume):
    network = nn.Conv3d(1, 4, 3, padding=1)
    inferer = MapInferer(ThreeMaps(), (5, 8, 11), progress=False)
    exact = inferer(volume, network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = inferer(volume, network)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, atol=1e-2, rtol=0)


def test_each_volume_of_a_batch_is_its_own(volume):
    batch = torch.cat([volume, volume.flip(2), -volume])
    inferer = MapInferer(ThreeMaps(), (5, 8, 11), 4, progress=False)
    torch.testing.assert_close(inferer(batch, Pointwise()), expected(batch)[:, 1:], atol=2e-6, rtol=0)


def test_meta_data_is_kept(volume):
    affine = torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0]))
    image = MetaTensor(volume, affine=affine, meta={"filename_or_obj": "y.tif"})
    maps = MapInferer(ThreeMaps(), (5, 8, 11), progress=False)(image, Pointwise())
    assert isinstance(maps, MetaTensor) and maps.meta["filename_or_obj"] == "y.tif"
    torch.testing.assert_close(maps.affine, affine.to(maps.affine))
    torch.testing.assert_close(maps.as_tensor(), expected(volume)[:, 1:], atol=2e-6, rtol=0)


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
def test_maps_are_those_of_monais_sliding_window(volume, mode):
    torch.manual_seed(0)
    network = nn.Conv3d(1, 4, 3, padding=1)
    inferer = MapInferer(ThreeMaps(), (5, 8, 11), 1, 0.5, mode, padding=(4, 3, 30), with_image=True, progress=False)
    padded, size = pad_by_reflection(volume, (4, 3, 30)), (5, 8, 11)
    options = {"overlap": 0.5, "mode": mode, "sigma_scale": 0.1}
    with torch.no_grad():
        expected = sliding_window_inference(padded, size, 1, inferer.predictor(network), **options)
    expected = expected[:, :, 4:-4, 3:-3, 30:-30].clamp(0, 1)
    torch.testing.assert_close(inferer(volume, network), expected, atol=1e-6, rtol=0)
    inferer.as_bytes = True
    off = inferer(volume, network).int() - (expected * 255).int()
    assert off.abs().max() <= 1 and (off != 0).float().mean() < 1e-3


@pytest.mark.parametrize("size", [(33, 257, 257), (16, 32, 31), (5, 1, 4)])
def test_published_weights_are_those_of_the_authors(size):
    """Their code: 1e-4 + exp(-d² / (2 · 0.2²)), d the distance from the middle on a grid from -1 to 1."""
    axes = [np.linspace(-1, 1, side) if side > 1 else np.zeros(1) for side in size]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    weights = window_weights(size, "published", 0.1).numpy()
    np.testing.assert_allclose(weights, 1e-4 + np.exp(-(distance**2) / (2 * 0.2**2)), rtol=1e-4)
    assert weights.min() < 2e-4 or min(size) < 16
    assert window_weights(size, "gaussian", 0.1).min() >= 9.9e-4


def test_published_weights_reach_the_maps(volume):
    starts = iter([0.0, 1.0, 0.0])

    def numbered(x: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 4, *x.shape[2:]), next(starts) * 200 - 100)  # sigmoid: 0, 1, 0

    inferer = MapInferer(ThreeMaps(), (1, 1, 33), mode="published", padding=0, progress=False)
    got = inferer(torch.zeros(1, 1, 1, 1, 65), numbered)[0, 0, 0, 0]
    weight = window_weights((1, 1, 33), "published", 0.1)[0, 0]
    torch.testing.assert_close(got[16:32], weight[:16] / (weight[:16] + weight[16:32]))


def test_it_is_built_from_a_config():
    parser = ConfigParser(
        {"inferer": {"_target_": "scripts.inferer.MapInferer", "representation": "$None", "roi_size": [5, 8, 11]}}
    )
    inferer = parser.get_parsed_content("inferer")
    assert isinstance(inferer, SlidingWindowInferer) and inferer.sigma_scale == 0.1


@pytest.mark.parametrize("options", [{"flips": 3}, {"flips": 0}, {"padding": (4, -1, 16)}])
def test_impossible_options_are_named(options):
    with pytest.raises(InputError, match=next(iter(options))):
        MapInferer(ThreeMaps(), **options)


@pytest.mark.parametrize("shape", [(9, 21, 26), (1, 3, 9, 21, 26)])
def test_other_inputs_than_one_channel_volumes_are_refused(shape):
    with pytest.raises(InputError, match="expected \\(batch, 1, z, y, x\\)"):
        MapInferer(ThreeMaps(), progress=False)(torch.zeros(shape), Pointwise())


@pytest.mark.parametrize("network", [nn.Conv3d(1, 3, 1), nn.Conv3d(1, 4, 1, stride=2)])
def test_a_network_of_another_shape_is_refused(volume, network):
    with pytest.raises(InputError, match="expected 4 channels of the same size"):
        MapInferer(ThreeMaps(), progress=False)(volume, network)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_network_with_the_maps_on_the_cpu(volume):
    inferer = MapInferer(ThreeMaps(), (5, 8, 11), progress=False, sw_device="cuda", device="cpu")
    maps = inferer(volume, Pointwise().cuda())
    assert maps.device.type == "cpu"
    torch.testing.assert_close(maps, expected(volume)[:, 1:], atol=2e-6, rtol=0)


class WithMaps(Pointwise):
    """Can give the maps without the image."""

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, 1:]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the image was worked out, which nobody asked for")


def test_a_network_that_can_is_asked_for_the_maps_alone(volume):
    maps = MapInferer(ThreeMaps(), (5, 8, 11), progress=False)(volume, WithMaps())
    torch.testing.assert_close(maps, expected(volume)[:, 1:], atol=2e-6, rtol=0)


@pytest.mark.parametrize("with_image", [False, True])
def test_empty_windows_are_background_and_not_given_to_the_network(with_image):
    dark = torch.full((1, 1, 4, 8, 32), -1.0)
    dark[..., 16:] = 0.5
    dark[0, 0, 0, 0, 0] = 1.0  # one bright voxel is noise, not an object
    network = Pointwise()
    inferer = MapInferer(ThreeMaps(), (4, 8, 8), 2, 0.0, "constant", padding=0, with_image=with_image, empty_below=0.0)
    maps = inferer(dark, network)
    assert sum(shape[0] for shape in network.shapes) == 2
    assert maps[..., :16].abs().max() == 0
    first = 0 if with_image else 1
    torch.testing.assert_close(maps[..., 16:], expected(dark)[:, first:, ..., 16:], atol=2e-6, rtol=0)


def test_windows_of_one_batch_may_be_empty_in_part():
    volume = torch.cat([torch.full((1, 1, 4, 8, 8), -1.0), torch.full((1, 1, 4, 8, 8), 0.5)], -1)
    maps = MapInferer(ThreeMaps(), (4, 8, 8), 2, 0.0, "constant", padding=0, empty_below=0.0)(volume, Pointwise())
    assert maps[..., :8].abs().max() == 0
    torch.testing.assert_close(maps[..., 8:], expected(volume)[:, 1:, ..., 8:], atol=2e-6, rtol=0)


def test_mixed_precision_is_bfloat16_in_the_network_and_single_outside(volume):
    torch.manual_seed(0)
    network, seen = nn.Conv3d(1, 4, 1), []
    network.register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    exact = MapInferer(ThreeMaps(), (9, 21, 26), padding=0, progress=False)(volume, network)
    maps = MapInferer(ThreeMaps(), (9, 21, 26), padding=0, progress=False, amp=True)(volume, network)
    assert seen == [torch.float32, torch.bfloat16]
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, exact, atol=5e-3, rtol=0)


def test_a_scaled_network_sees_smaller_windows_and_its_maps_have_the_size_of_the_volume(volume):
    planes = volume[..., :1, :1].expand(-1, -1, -1, 21, 26)  # nothing to lose in the plane
    network = Pointwise()
    inferer = MapInferer(ThreeMaps(), (5, 6, 6), padding=(1, 3, 3), scale=(1, 0.5, 0.5), flips=4, progress=False)
    maps = inferer(planes, network)
    assert set(network.shapes) == {(1, 1, 5, 6, 6)}
    assert maps.shape == (1, 3, 9, 21, 26)
    torch.testing.assert_close(maps, expected(planes)[:, 1:], atol=2e-6, rtol=0)


def test_scaling_keeps_things_in_their_place():
    ball = torch.zeros(1, 1, 8, 32, 32)
    ball[..., 2:6, 8:16, 16:28] = 1
    maps = MapInferer(ThreeMaps(), (8, 16, 16), padding=0, scale=(1, 0.5, 0.5), progress=False)(ball, Pointwise())
    assert torch.equal(maps[0, 0] > (0.5 + torch.sigmoid(torch.tensor(2.0))) / 2, ball[0, 0] > 0)


def test_a_scale_without_a_meaning_is_refused():
    with pytest.raises(InputError, match="scale is"):
        MapInferer(ThreeMaps(), scale=(1, 0, 1))
