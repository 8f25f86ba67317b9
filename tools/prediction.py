"""Workloads of inference: one window, and a volume in windows."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from machine import PRECISION
from material import Shape, parsed
from scripts.allocator import reused_memory
from stopwatch import Result, Stopwatch, operations


def window(shape: Shape, iterations: int, amp: bool) -> Result:
    """Maps of one window, the image not worked out."""
    network, image = parsed(["inference", "published"]).get_parsed_content("network").eval(), _image(shape)

    @torch.no_grad()
    def work() -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            return network.maps(image)

    watch = Stopwatch()
    with reused_memory():
        watch.time(work, iterations)
    result = watch.result(prod(shape))
    return result | {"flops": operations(work), "precision": PRECISION[amp]}


def inference(shape: Shape, iterations: int, amp: bool) -> Result:
    """Maps of a volume; the operations are those of one window times the number of windows."""
    parser = parsed(["inference", "published"])
    parser["inferer"].update({"progress": False, "with_image": False, "amp": amp})
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content("inferer")
    image, windows = _image(shape), _count_windows(network)
    watch = Stopwatch()
    watch.time(lambda: inferer(image, network), iterations)
    visited = sum(windows) // iterations
    result = watch.result(prod(shape), windows=visited)
    z, y, x = (side - 2 * padding for side, padding in zip(inferer.roi_size, inferer.padding, strict=True))
    flops = operations(lambda: inferer(image[:, :, :z, :y, :x], network))
    return result | {"flops": flops * visited, "precision": PRECISION[amp]}


def _image(shape: Shape) -> torch.Tensor:
    return torch.rand(1, 1, *shape) * 2 - 1


def _count_windows(network: Any) -> list[int]:
    """A list that gets the windows of each pass; a stage tells, since `network.maps` calls no hook of the network."""
    windows: list[int] = []
    network.down[-1].register_forward_hook(lambda _, inputs, __: windows.append(len(inputs[0])))
    return windows
