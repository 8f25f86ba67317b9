"""What the machine can do: its rate of convolution, and what memory costs that is fetched anew."""

from __future__ import annotations

import math
import time

import torch
from scripts.allocator import reused_memory

from stopwatch import Result, Stopwatch

PRECISION = {False: "float32", True: "bfloat16"}
# Input and weight of large convolutions: over the sections of a volume, as most of the networks' are, and across them.
_CONVOLUTIONS = (((34, 64, 65, 65), (64, 64, 3, 3)), ((2, 128, 9, 33, 33), (128, 128, 3, 3, 3)))
_SECONDS = 0.3  # for each of them in each precision


def attainable() -> dict[str, float]:
    """GFLOP/s of the faster of two large convolutions by torch's library (oneDNN), forward, for each precision."""
    with torch.no_grad(), reused_memory():
        return {
            name: max(_rate(getattr(torch, name), *shapes) for shapes in _CONVOLUTIONS) for name in PRECISION.values()
        }


def _rate(dtype: torch.dtype, image: tuple[int, ...], kernel: tuple[int, ...]) -> float:
    """Rate of a convolution; where it would take long, as on a processor without the type, of a small part once."""
    part = (1, image[1], *(max(side // 4, 3) for side in image[2:]))
    rate = _timed(dtype, part, kernel, 0)
    whole = 2 * math.prod(image) * math.prod(kernel) / image[1] / 1e9
    return rate if whole / rate > 10 * _SECONDS else _timed(dtype, image, kernel, _SECONDS)


def _timed(dtype: torch.dtype, image: tuple[int, ...], kernel: tuple[int, ...], seconds: float) -> float:
    order = torch.channels_last if len(image) == 4 else torch.channels_last_3d
    x, weight = (torch.rand(size).to(dtype, memory_format=order) for size in (image, kernel))
    end, times = time.perf_counter() + seconds, list[float]()
    while len(times) < 2 or time.perf_counter() < end:  # the first call prepares
        begun = time.perf_counter()
        out = torch.convolution(x, weight, None, *_geometry(len(kernel) - 2))
        times.append(time.perf_counter() - begun)
    return 2 * out.numel() * math.prod(kernel[1:]) / min(times[1:]) / 1e9


def _geometry(axes: int) -> tuple[list[int], list[int], list[int], bool, list[int], int]:
    """Stride, padding and dilation, not transposed, output padding, groups."""
    return [1] * axes, [1] * axes, [1] * axes, False, [0] * axes, 1


def allocation(shape: tuple[int, ...], iterations: int) -> Result:
    """Add two tensors of 64 channels; seconds are those within `reused_memory`."""
    one, other = torch.rand(64, *shape), torch.rand(64, *shape)
    fresh = Stopwatch()
    fresh.time(lambda: one + other, iterations)
    reused = Stopwatch()
    with reused_memory():
        reused.time(lambda: one + other, iterations)
    milliseconds = {name: 1e3 * watch.result()["seconds"] for name, watch in (("fresh", fresh), ("reused", reused))}
    return reused.result(**{f"milliseconds_{name}": value for name, value in milliseconds.items()})
