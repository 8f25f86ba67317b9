"""What is known of the two domains, and the factors that bring their objects to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scripts.errors import InputError
from scripts.match_domains.blob import coarse_blobs
from scripts.match_domains.density import image_share, label_share, wanted_shares
from scripts.match_domains.diameter import DISAGREEMENT, FEWEST, ImageSize, Shapes, image_size, shapes_of
from scripts.match_domains.intensity import image_polarity, intensity_window, label_grey, label_polarity
from scripts.match_domains.piece import grey_range

__all__ = ["Domain", "Match", "Sizes", "check_options", "match_volumes", "scales"]

Factors = tuple[float, float, float]
Spacing = Sequence[float] | None
AXES = "zyx"
# A volume is not resized by less than this: the estimate is not that good, and resizing blurs.
LEAST_CHANGE = 0.05


class Sizes(NamedTuple):
    """Diameters (z, y, x) in voxels, and where they come from: "labels", "voxel sizes" or "image"; NaN: unknown."""

    diameters: Factors
    source: str
    objects: int | None = None


@dataclass(frozen=True)
class Domain:
    """One domain: object sizes, whether objects are bright (None: cannot tell), and the intensity range.

    Attributes:
        sizes: of the objects.
        bright: polarity.
        percentiles: those that become -1 and 1.
        window: the grey values there.
        share: of the volume that objects fill; NaN: unknown.
    """

    sizes: Sizes
    bright: bool | None
    percentiles: tuple[float, float]
    window: tuple[float, float]
    share: float


@dataclass(frozen=True)
class Match:
    """Both domains, the factors (z, y, x) for each, and what to be careful about, in words.

    `density` is the range of shares that patches of X are to be brought to, None where X is about as dense as Y.
    """

    x: Domain
    y: Domain
    scale_x: Factors
    scale_y: Factors
    density: tuple[float, float] | None
    warnings: tuple[str, ...]


def match_volumes(
    image_x: np.ndarray,
    label_x: np.ndarray,
    image_y: np.ndarray,
    voxel_size_x: Spacing = None,
    voxel_size_y: Spacing = None,
    *,
    reference: str = "x",
    diameter: float | None = None,
    seed: int = 0,
) -> Match:
    """Compare two volumes.

    Args:
        image_x: source (Z, Y, X).
        label_x: its instances (Z, Y, X), at least one.
        image_y: target (Z, Y, X).
        voxel_size_x: (z, y, x) in the unit of `voxel_size_y`. Where both are known, they give Y's object size; else
            the image does.
        voxel_size_y: of the sample as it was before any expansion.
        reference: the domain that keeps its resolution, "x" or "y".
        diameter: bring both domains to this many voxels in the plane instead; z gets no finer than that.
        seed: of the places that are looked at in large volumes.

    Raises:
        InputError: `reference` or `diameter` is something else.
    """
    check_options(reference, diameter)
    shapes = shapes_of(label_x, seed)
    grey_x = label_grey(image_x, label_x, seed)
    bright_x = label_polarity(grey_x)
    blobs = coarse_blobs(image_y, seed)
    bright_y = image_polarity(*blobs)
    taken = bright_y if bright_y is not None else bright_x is not False
    seen = image_size(image_y, shapes, blobs[0 if taken else 1], taken, seed)
    sizes_x = Sizes(shapes.diameters, "labels", shapes.count)
    sizes_y = _sizes_of_y(sizes_x, seen, voxel_size_x, voxel_size_y)
    x = _domain(image_x, sizes_x, bright_x, grey_x, label_share(label_x))
    share_y = np.nan if seen is None else image_share(image_y, _known(sizes_y, sizes_x), taken, seed)
    y = _domain(image_y, sizes_y, bright_y, seen.grey if seen is not None else None, share_y)
    said = [*_size_warnings(shapes, sizes_y, seen), *_polarity_warnings(bright_x, bright_y)]
    scale_x, scale_y = scales(sizes_x.diameters, sizes_y.diameters, reference, diameter)
    return Match(x, y, scale_x, scale_y, wanted_shares(x.share, share_y), tuple(said))


def scales(
    x: Sequence[float], y: Sequence[float], reference: str = "x", diameter: float | None = None
) -> list[Factors]:
    """Factors (z, y, x) for X and for Y that make diameters `x` and `y` the same; an unknown one of Y counts as X's.

    Diameters of y and x that differ by less than a tenth are taken as one, so that pixels stay square.
    """
    of_x = _square(np.array(x, float))
    of_y = _square(np.where(np.isnan(y), of_x, y))
    if diameter is not None:
        goal = np.where([True, False, False], np.minimum(of_x, diameter), diameter)
    else:
        goal = of_x if reference == "x" else of_y
    return [_factors(goal / of_x), _factors(goal / of_y)]


def check_options(reference: str = "x", diameter: float | None = None) -> None:
    """See that options of `match_volumes` are such.

    Raises:
        InputError: one is not.
    """
    if reference not in ("x", "y"):
        raise InputError(f"reference is {reference!r}; expected x or y, the domain that keeps its resolution.")
    if diameter is not None and not (isinstance(diameter, int | float) and 2 <= diameter < float("inf")):
        raise InputError(f"diameter is {diameter!r}; expected a number of voxels, 2 or more.")


def _square(diameters: np.ndarray) -> np.ndarray:
    z, y, x = diameters.tolist()
    return np.array([z, *[(y + x) / 2] * 2]) if max(y, x) < 1.1 * min(y, x) else diameters


def _factors(values: np.ndarray) -> Factors:
    z, y, x = (1.0 if abs(value - 1) < LEAST_CHANGE else round(value, 3) for value in values.tolist())
    return z, y, x


def _sizes_of_y(x: Sizes, seen: ImageSize | None, voxel_size_x: Spacing, voxel_size_y: Spacing) -> Sizes:
    if voxel_size_x is not None and voxel_size_y is not None:
        z, y, w = (np.array(x.diameters) * voxel_size_x / np.array(voxel_size_y)).tolist()
        return Sizes((z, y, w), "voxel sizes")
    if seen is None:
        return Sizes((np.nan, np.nan, np.nan), "image", 0)
    # Two opinions that disagree are between them nearer to the truth than X's size, if that lies beyond both.
    unclear = np.where(seen.differs(x.diameters), seen.between, np.nan)
    z, plane = np.where(seen.clear, seen.instances, unclear).tolist()
    return Sizes((z, plane, plane), "image", seen.count)


def _known(y: Sizes, x: Sizes) -> list[float]:
    """Diameters of Y, X's where they are unknown."""
    return [other if np.isnan(one) else one for one, other in zip(y.diameters, x.diameters, strict=True)]


def _domain(
    image: np.ndarray, sizes: Sizes, bright: bool | None, grey: tuple[np.ndarray, np.ndarray] | None, share: float
) -> Domain:
    percentiles = intensity_window(image, grey)
    return Domain(sizes, bright, percentiles, grey_range(image, percentiles), share)


def _size_warnings(shapes: Shapes, y: Sizes, seen: ImageSize | None) -> list[str]:
    said = []
    if shapes.count < FEWEST:
        said.append(f"X has only {shapes.count} labelled objects to measure: their size is uncertain.")
    if y.source == "voxel sizes":
        return said + _voxel_size_warnings(y, seen)
    if seen is None:
        return [*said, "cannot tell the size of Y's objects: nothing of one size stands out in the image. Left at 1."]
    if seen.count < FEWEST:
        text = "cannot tell the size of Y's objects: only {} found, expected {}. Left at 1."
        return [*said, text.format(seen.count, FEWEST)]
    taken = np.array([y.diameters[0], y.diameters[1]])
    for axis, clear, one, other, size in zip(
        ("z", "the plane"), seen.clear, seen.instances, seen.blobs, taken, strict=True
    ):
        if not clear:
            outcome = "Left at 1" if np.isnan(size) else f"Taken as {size:.1f}, since both are far from X's"
            said.append(
                f"cannot tell the size of Y's objects along {axis}: single objects say {one:.1f} voxels, scale space "
                f"{other:.1f}, which differ by more than {100 * (DISAGREEMENT - 1):.0f} %. {outcome}; look at the "
                "picture, or give the voxel sizes."
            )
    return said


def _voxel_size_warnings(y: Sizes, seen: ImageSize | None) -> list[str]:
    """Compare with the image: voxel sizes of an expanded sample mislead, if the expansion is not given."""
    if seen is None:
        return ["the image of Y does not confirm the voxel sizes: nothing of one size stands out in it."]
    expected = np.array([y.diameters[0], (y.diameters[1] + y.diameters[2]) / 2])
    return [
        f"by the voxel sizes Y's objects are {size:.1f} voxels wide along {axis}, by the image {found:.1f}, a factor "
        f"of {max(size / found, found / size):.2f}. An expanded sample? Then give --expansion_y. Or leave the voxel "
        "sizes out with --by_voxel_size false."
        for axis, size, found, clear in zip(("z", "the plane"), expected, seen.instances, seen.clear, strict=True)
        if clear and max(size / found, found / size) > DISAGREEMENT
    ]


def _polarity_warnings(x: bool | None, y: bool | None) -> list[str]:
    said = []
    if x is None:
        said.append("cannot tell whether X's objects are bright or dark: labels and surroundings are alike in grey.")
    if y is None:
        taken = "dark, as X's" if x is False else "bright, as X's" if x else "bright"
        said.append(f"cannot tell whether Y's objects are bright or dark; taken as {taken}. Look at the picture.")
    if None not in (x, y) and x != y:
        said.append(
            f"objects are {'bright' if x else 'dark'} in X and {'bright' if y else 'dark'} in Y: the translation has "
            "to invert. Keep loss_weights::correlation and loss_weights::identity at 0 (correlation_margin then has no "
            "effect), for they hold a translation to its input; ignore the warning of an inverted translation."
        )
    return said
