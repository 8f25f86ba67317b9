"""What shows that an adversarial training goes wrong, as numbers of one iteration."""

from __future__ import annotations

from collections.abc import Mapping

import cc3d
import numpy as np
import torch
from scripts.handlers.polarity import correlation
from torch import Tensor

__all__ = ["checkerboard", "lost_share", "training_statistics"]

_KEPT = 0.1


def training_statistics(output: Mapping[str, Tensor], panels: Mapping[str, Tensor]) -> dict[str, float]:
    """Return what there is to tell of one iteration; statistics of what its stage lacks are left out.

    `discriminator_x`, `_y`, `_s`: loss of each discriminator that a generator plays against; 0 is always right, 0.5
    undecided, 2 always wrong. For each translated image, `fake_x` and `fake_y`: `contrast_`, its standard deviation as
    a share of that of a real image of its domain; `copied_`, the correlation with its input; `checkerboard_`, see
    `checkerboard`, as a multiple of the real image's. `foreground_x`, `foreground_y`: share of voxels whose first map
    is above 0.5. `lost_y` and `invented_y`: nuclei of Y's maps that those after translation lack, and the other way
    round.

    Args:
        output: terms of the iteration by name.
        panels: volumes (C, Z, Y, X) as `scripts.trainer.CySGANTrainer` shows them.
    """
    volumes = {name: volume.detach().float().cpu() for name, volume in panels.items()}
    found = {
        f"discriminator_{d}": float(output[f"discriminator_{d}"])
        for d in "xys"
        if f"adversarial_{d}" in output and f"discriminator_{d}" in output
    }
    for made, source, real in (("fake_x", "y", "x"), ("fake_y", "x", "y")):
        if {made, source, real} <= volumes.keys():
            found |= _of_translation(made, volumes[made][0], volumes[source][0], volumes[real][0])
    if any(name.startswith("segmentation") for name in output):
        found |= _of_maps(volumes)
    return found


def checkerboard(image: Tensor, period: int) -> float:
    """Return how far the spectrum of an image stands out at a period, along the axis where it does so most.

    It is the power at that frequency over the mean power of its two neighbours below (and two above, where there are
    any); about 1 where there is nothing, NaN where no axis is long enough or the image is constant.

    Args:
        image: (Z, Y, X).
        period: in voxels, the stride of a layer; 2 is the finest.
    """
    return max((p for axis in range(3) if not np.isnan(p := _peak(image, period, axis))), default=float("nan"))


def lost_share(before: Tensor, after: Tensor) -> float:
    """Share of the objects of one map of which another shows less than a tenth; NaN where there is none.

    Args:
        before: (Z, Y, X), objects are above 0.5 and touch by a face, of 8 voxels or more.
        after: the same shape.
    """
    objects = cc3d.connected_components((before > 0.5).numpy(), connectivity=6)
    size = np.bincount(objects.ravel())
    kept = np.bincount(objects.ravel(), weights=(after > 0.5).numpy().ravel())
    real = size[1:] >= 8
    return float((kept[1:] < _KEPT * size[1:])[real].mean()) if real.any() else float("nan")


def _of_translation(name: str, made: Tensor, source: Tensor, real: Tensor) -> dict[str, float]:
    peaks = [checkerboard(made, period) / checkerboard(real, period) for period in (2, 4)]
    return {
        f"contrast_{name}": float(made.std() / real.std()) if real.std() > 1e-6 else float("nan"),
        f"copied_{name}": correlation(made, source),
        f"checkerboard_{name}": max((p for p in peaks if not np.isnan(p)), default=float("nan")),
    }


def _of_maps(volumes: Mapping[str, Tensor]) -> dict[str, float]:
    found = {
        f"foreground_{d}": float((volumes[f"maps_{d}"][0] > 0.5).float().mean()) for d in "xy" if f"maps_{d}" in volumes
    }
    if {"maps_y", "maps_rec_y"} <= volumes.keys():
        before, after = volumes["maps_y"][0], volumes["maps_rec_y"][0]
        found |= {"lost_y": lost_share(before, after), "invented_y": lost_share(after, before)}
    return found


def _peak(image: Tensor, period: int, axis: int) -> float:
    lines = image.movedim(axis, -1)
    length = lines.shape[-1] // period * period
    centre = length // period
    if centre < 4:
        return float("nan")
    lines = lines[..., :length] - lines[..., :length].mean(-1, keepdim=True)
    # The window keeps what does not repeat at the border from spreading over the spectrum.
    power = torch.fft.rfft(lines * torch.hann_window(length, periodic=True)).abs().square().flatten(0, -2).mean(0)
    # The window widens a line by one on either side, so neighbours begin at two.
    near = [k for k in (centre - 3, centre - 2, centre + 2, centre + 3) if 0 < k < len(power)]
    level = power[near].mean()
    return float(power[centre] / level) if level > 1e-12 else float("nan")
