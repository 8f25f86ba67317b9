"""Error of the factor between two domains that scripts.match_domains finds by the image alone.

    .venv/bin/python tools/matching.py --seeds 20,21,22,23,24

Example pairs are made at one scale, the target is resized by a known factor, and what is found is compared with that;
the table has the least and the greatest error of the seeds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

FACTORS = [(1, 0.5, 0.5), (1, 0.75, 0.75), (1, 1.5, 1.5), (1, 2, 2), (0.5, 1, 1), (2, 1, 1)]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))


def errors(seed: int, factor: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Relative errors of the factor for Y along z, y and x, nan where it says that it cannot tell."""
    from scripts.example import make_pair
    from scripts.match_domains.match import match_volumes
    from scripts.transforms.scaling import ScaleVolume

    pair = make_pair(shape, seed=seed)
    image = np.rint(ScaleVolume(factor)(pair["imageY"][None].astype(np.float32))[0]).astype(np.uint8)
    match = match_volumes(pair["imageX"], pair["labelX"], image)
    found = np.asarray(match.x.sizes.diameters, float) / np.asarray(match.y.sizes.diameters, float)
    return found * np.asarray(factor) - 1


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=_numbers, default=(20, 21, 22, 23, 24))
    parser.add_argument("--shape", type=_numbers, default=(64, 192, 192), help="Z,Y,X of the pairs")
    given = parser.parse_args()
    print("| Y resized by (z, plane) | z | plane |\n|---|---|---|")
    for factor in FACTORS:
        found = np.array([errors(seed, factor, given.shape) for seed in given.seeds])
        columns = [_range(found[:, 0]), _range(found[:, 1:].ravel())]
        print(f"| {factor[0]:g}, {factor[1]:g} | {' | '.join(columns)} |", flush=True)


def _range(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    text = f"{100 * known.min():.1f} to {100 * known.max():.1f} %" if len(known) else "–"
    return text + (f" ({len(values) - len(known)} not told)" if len(known) < len(values) else "")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
