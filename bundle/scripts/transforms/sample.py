"""The random transforms of a sample of either domain, in the published amounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.transforms import CenterSpatialCropd, Compose, CopyItemsd, RandFlipd, RandRotate90d, ScaleIntensityRanged
from scripts.errors import InputError
from scripts.transforms.defect import RandCutBlurd, RandCutNoised, RandMissingPartsd, RandMotionBlurd
from scripts.transforms.density import RandDensityd
from scripts.transforms.grey import RandGreyValued
from scripts.transforms.section import RandMisalignmentd, RandMissingSectiond
from scripts.transforms.warp import RandElasticInPlaned, RandRescaleInPlaned

__all__ = ["sample_augmentation"]

_GEOMETRY = {
    "misalignment": RandMisalignmentd,
    "missing_section": RandMissingSectiond,
    "elastic": RandElasticInPlaned,
    "rescale": RandRescaleInPlaned,
}
_DEFECTS = {
    "cut_noise": RandCutNoised,
    "cut_blur": RandCutBlurd,
    "motion_blur": RandMotionBlurd,
    "missing_parts": RandMissingPartsd,
}
_BOTH = ("image", "label")


def sample_augmentation(
    patch_size: Sequence[int],
    probabilities: Mapping[str, float],
    scale: float = 1.0,
    density: Mapping[str, Any] | None = None,
    amounts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Compose:
    """Make the transform that turns {`image`, `label`} into a patch, and adds `recon`, the clean copy of the image.

    All are (1, Z, Y, X); the image comes in [0, 1] and leaves in [-1, 1]. A sample of Y has no label. The published
    order has the defects first. Here they come last, so that geometry is worked out once for `image` and `recon`, and a
    source patch is chosen by its label.

    Args:
        patch_size: (Z, Y, X) of what is cut out.
        probabilities: of each transform: misalignment, missing_section, elastic, rescale, grey_value, cut_noise,
            cut_blur, motion_blur, missing_parts.
        scale: of lengths in voxels, which are published for patches 129 wide.
        density: options of `RandDensityd`; None leaves it out.
        amounts: options of single transforms, by the names above, that replace the published amounts.

    Raises:
        InputError: there is no transform of such a name.
    """
    published = _published(scale)
    for name in (name for given in (probabilities, amounts or {}) for name in given if name not in published):
        raise InputError(f"augmentation: found {name}, expected some of {', '.join(published)}.")
    options = {
        name: {"prob": probabilities.get(name, 0.0), **published[name], **(amounts or {}).get(name, {})}
        for name in published
    }
    return Compose(
        [
            *([] if density is None else [RandDensityd(**density)]),
            *(kind(_BOTH, allow_missing_keys=True, **options[name]) for name, kind in _GEOMETRY.items()),
            # With the flips that follow, all eight turns and reflections of the plane are equally likely.
            RandRotate90d(_BOTH, 0.75, spatial_axes=(1, 2), allow_missing_keys=True),
            CenterSpatialCropd(_BOTH, patch_size, allow_missing_keys=True),
            *(RandFlipd(_BOTH, 0.5, axis, allow_missing_keys=True) for axis in range(3)),
            # Grey values, both of what the generators see and of what they should restore.
            RandGreyValued("image", **options["grey_value"]),
            # Defects in the input alone: the cycle should give back the clean copy.
            CopyItemsd("image", 1, "recon"),
            *(kind("image", **options[name]) for name, kind in _DEFECTS.items()),
            ScaleIntensityRanged(["image", "recon"], 0.0, 1.0, -1.0, 1.0),
        ]
    )


def _published(scale: float) -> dict[str, dict[str, Any]]:
    """Amounts of the authors' code; lengths are in voxels."""
    return {
        "misalignment": {"displacement": round(16 * scale)},
        "missing_section": {"count": 2},
        "elastic": {"alpha": 16 * scale**2, "sigma": 4 * scale},
        "rescale": {"factors": [0.8, 1.25]},
        "grey_value": {"contrast": 0.15, "brightness": 0.15, "gamma": 1.0},
        "cut_noise": {"share": 0.4, "amplitude": 0.3},
        "cut_blur": {"share": 0.4, "factors": [2.0, 8.0]},
        "motion_blur": {"sections": 2, "length": max(3, round(11 * scale))},
        "missing_parts": {"section_prob": 0.9, "half_width": 0.3},
    }
