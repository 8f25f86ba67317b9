"""Workloads on labels: their encoding, decoding and scores."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scripts.metrics import score_instances
from scripts.watershed import bcd_watershed

from material import Shape, ellipsoids, representation
from stopwatch import Result, Stopwatch


def watershed(shape: Shape, iterations: int) -> Result:
    """Decode the blurred maps of touching ellipsoids."""
    label = ellipsoids(shape, (12, 24, 24))
    maps = representation().encode(label)
    maps[2] = (maps[2] + 1) / 2
    blurred = np.stack([gaussian_filter(one, (0.5, 1, 1)) for one in maps])
    maps = (255 * blurred).astype(np.uint8)
    del blurred
    watch = Stopwatch()
    labels = watch.time(lambda: bcd_watershed(maps), iterations)
    result = watch.result(label.size)
    return result | {"instances": int(label.max()), "found": int(np.count_nonzero(np.unique(labels)))}


def encoding(shape: Shape, iterations: int) -> Result:
    """Encode a label patch."""
    label = ellipsoids(shape, (9, 27, 27))
    maps = representation()
    watch = Stopwatch()
    watch.time(lambda: maps.encode(label), iterations)
    return watch.result(instances=len(np.unique(label)) - 1)


def metrics(shape: Shape, iterations: int) -> Result:
    """Score 10,000 boxes against their copies."""
    z, y, x = (np.arange(n) * count // n for n, count in zip(shape, (25, 20, 20), strict=True))
    truth = (z[:, None, None] * 400 + y[:, None] * 20 + x + 1).astype(np.int32)
    prediction = np.roll(truth, (1, 2, 1), (0, 1, 2))
    watch = Stopwatch()
    scores = watch.time(lambda: score_instances(truth, prediction), iterations)
    return watch.result(truth.size, instances=int(scores["present"]))
