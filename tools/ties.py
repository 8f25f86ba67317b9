"""How far the watershed's default order of ties departs from the reference's, in voxels and in instances.

    .venv/bin/python tools/ties.py outputs/demo/predictions/imageY_maps.h5

Takes maps of foreground, contour and distance as inference writes them, or .npz files that hold them as
`volume`, decodes them with `ties="raster"` and with `ties="heap"`, and prints a table.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))


def compared(maps: np.ndarray) -> str:
    """Cells of the table for maps (3, Z, Y, X)."""
    from scripts.metrics import match_instances
    from scripts.watershed import bcd_watershed

    ours, theirs = (bcd_watershed(maps, ties=ties).astype(np.int64) for ties in ("raster", "heap"))
    other = ours != theirs
    touched = len(np.union1d(ours[other], theirs[other]).nonzero()[0])
    count = len(np.unique(theirs).nonzero()[0])
    share = 1000 * other.sum() / max(1, np.count_nonzero(theirs))
    lost = [match_instances(theirs, ours, iou).false_negatives for iou in (0.5, 0.9)]
    return f"{other.sum()} ({share:.2f} ‰) | {touched} / {count} | {lost[0]} | {lost[1]}"


def main() -> None:
    """Print the table."""
    from scripts.volume_io import read_maps

    print("| maps | other voxels (of foreground) | instances that differ | unmatched at IoU 0.5 | at 0.9 |")
    print("|---|---|---|---|---|")
    for path in sys.argv[1:]:
        maps = np.load(path)["volume"] if path.endswith(".npz") else read_maps(path)[0][-3:]
        print(f"| {Path(path).stem}, {maps.dtype} | {compared(maps)} |")


if __name__ == "__main__":
    main()
