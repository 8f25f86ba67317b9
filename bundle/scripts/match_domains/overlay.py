"""The overlay for train.yaml and inference.yaml, and the table that is printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from scripts.match_domains.density import share_interval
from scripts.match_domains.match import Domain, Match

__all__ = ["overlay_text", "table_text"]

POLARITY = {True: "bright", False: "dark", None: "cannot tell"}


def table_text(match: Match) -> str:
    """What was found, a line for each property, and the warnings."""
    rows = [
        ("", "X", "Y"),
        ("diameter z, y, x (voxels)", *(_numbers(d.sizes.diameters, 1) for d in (match.x, match.y))),
        ("  from", *(_origin(d) for d in (match.x, match.y))),
        ("objects are", *(POLARITY[d.bright] for d in (match.x, match.y))),
        ("grey values", *(_numbers(d.window, 4) for d in (match.x, match.y))),
        ("  percentiles", *(_numbers(d.percentiles, 2) for d in (match.x, match.y))),
        ("share of the volume", *(_numbers([d.share], 2) for d in (match.x, match.y))),
        ("factors z, y, x", *(_numbers(scale, 3) for scale in (match.scale_x, match.scale_y))),
    ]
    lines = [f"{name:<28}{x:<26}{y}".rstrip() for name, x, y in rows]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in match.warnings)])


def overlay_text(match: Match, names: Sequence[str] = (), resolution: Sequence[float] = (1.0, 1.0, 1.0)) -> str:
    """YAML to lay over train.yaml and over inference.yaml; warnings are comments.

    Args:
        match: what was found.
        names: files that were looked at, for the head.
        resolution: factors (z, y, x) for both domains, after those of the match.
    """
    y_window = list(match.y.percentiles)
    scale_x, scale_y = (
        [round(one * other, 3) for one, other in zip(scale, resolution, strict=True)]
        for scale in (match.scale_x, match.scale_y)
    )
    comments = [
        "By scripts.match_domains: objects of one size in both domains.",
        *([f"From {', '.join(names)}."] if names else []),
        f"Diameters (z, y, x): X {_numbers(match.x.sizes.diameters, 1)}, by {_origin(match.x)}; "
        f"Y {_numbers(match.y.sizes.diameters, 1)}, by {_origin(match.y)}.",
        f"Objects: X {POLARITY[match.x.bright]}, Y {POLARITY[match.y.bright]}.",
        *(f"Warning: {warning}" for warning in match.warnings),
    ]
    return "\n".join(
        [
            *(line for comment in comments for line in _commented(comment)),
            "overlay_on: [train, inference]",
            f"scale_x: {scale_x}",
            f"scale_y: {scale_y}",
            "# inference.yaml: the network sees Y resized; maps and instances have Y's own size.",
            f"scale: {scale_y}",
            f"intensity_percentiles_x: {list(match.x.percentiles)}",
            f"intensity_percentiles_y: {y_window}",
            f"intensity_percentiles: {y_window}",
            *_density_lines(match),
            *_share_lines(match),
            "",
        ]
    )


def _density_lines(match: Match) -> list[str]:
    if match.density is None:
        return []
    shares = f"{100 * match.x.share:.0f} % of X and {100 * match.y.share:.0f} % of Y"
    return [
        f"# Objects fill {shares}: patches of X are brought to what Y holds.",
        "density:",
        "  prob: 0.9",
        f"  share: {list(match.density)}",
        "  haze: 0.0",
    ]


def _share_lines(match: Match) -> list[str]:
    if not match.y.share > 0:  # NaN: unknown
        return []
    return [
        "# Mean of Y's foreground map, which the term share_y holds it to where loss_weights gives that a weight.",
        f"share_y: {list(share_interval(match.y.share))}",
    ]


def _commented(text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


def _numbers(values: Sequence[float], digits: int) -> str:
    texts = [f"{value:.4g}" if digits > 3 else f"{value:.{digits}f}" for value in values]
    return ", ".join("?" if text == "nan" else text for text in texts)


def _origin(domain: Domain) -> str:
    count = f" ({domain.sizes.objects} objects)" if domain.sizes.objects is not None else ""
    return domain.sizes.source + count
