"""Workloads of inference: one window, a volume in windows, from file to files, and in blocks."""

from __future__ import annotations

import shutil
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scripts.allocator import reused_memory
from scripts.blockwise.predict import Prediction, predict_volume
from scripts.volume_io import create_zarr, write_volume
from torch import nn

from machine import PRECISION
from material import Shape, ellipsoids, parsed
from stopwatch import Result, Stopwatch, operations, peak


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


def files(shape: Shape, iterations: int) -> Result:
    """All that inference.yaml does, from a TIFF of uint16 to maps and instances; the network is one convolution."""
    network = nn.Conv3d(1, 4, 1)
    with torch.no_grad():  # image, foreground, contour and distance from the grey value alone
        network.weight[:] = torch.tensor([1.0, 8.0, 0.0, 2.0]).view(4, 1, 1, 1, 1)
        network.bias[:] = torch.tensor([0.0, 0.0, -8.0, 0.0])  # type: ignore[index]
    changes = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 4, "kernel_size": 1}
    with TemporaryDirectory() as folder:
        named = {"image": f"{folder}/image.tif", "output_dir": f"{folder}/out", "model_path": f"{folder}/model.pt"}
        torch.save(network.state_dict(), named["model_path"])
        _write_ellipsoids(named["image"], shape)
        watch = Stopwatch()
        for _ in range(iterations):
            parser = parsed(["inference"], {**named, "network_def": changes})
            watch.time(lambda parser=parser: parser.get_parsed_content("run"), 1)
        return watch.result(prod(shape), bytes_for_voxel=(peak() - watch.before) / prod(shape))


def _write_ellipsoids(path: str, shape: Shape) -> None:
    tile = ellipsoids((32, 128, 128), (12, 24, 24)) > 0
    repeats = [-(-n // side) for n, side in zip(shape, tile.shape, strict=True)]
    noise = np.random.default_rng(0).integers(0, 300, tile.shape, np.uint16)
    write_volume(path, np.tile(tile * np.uint16(3000) + noise, repeats)[tuple(map(slice, shape))])


def blocks(shape: Shape, iterations: int, block: Shape) -> Result:
    """Maps of a stored volume, block by block; the network is one convolution, so that memory is that of the blocks."""
    parser = parsed(["inference"])
    inferer, representation = (parser.get_parsed_content(name) for name in ("inferer", "representation"))
    network, names = nn.Conv3d(1, 1 + representation.channels, 1), ["image", *representation.channel_names]
    prediction = Prediction(inferer, network.eval(), names, gamma=0.5)
    with TemporaryDirectory() as folder:
        image, maps = Path(folder, "image.zarr"), Path(folder, "maps.zarr")
        _write_noise(image, shape)
        watch = Stopwatch()
        for _ in range(iterations):
            watch.time(lambda: predict_volume(image, maps, prediction, block=block), 1)
            shutil.rmtree(maps)
            shutil.rmtree(f"{maps}.work")
        bytes_of_block = (peak() - watch.before) / prod(map(min, block, shape))
        return watch.result(prod(shape), bytes_for_voxel_of_block=bytes_of_block)


def _write_noise(path: Path, shape: Shape) -> None:
    store, rng = create_zarr(path, shape, np.uint16, (64, 64, 64)), np.random.default_rng(0)
    for first in range(0, shape[0], 64):
        size = (min(64, shape[0] - first), *shape[1:])
        store[first : first + 64] = rng.integers(0, 4000, size, np.uint16)


def _image(shape: Shape) -> torch.Tensor:
    return torch.rand(1, 1, *shape) * 2 - 1


def _count_windows(network: Any) -> list[int]:
    """A list that gets the windows of each pass; a stage tells, since `network.maps` calls no hook of the network."""
    windows: list[int] = []
    network.down[-1].register_forward_hook(lambda _, inputs, __: windows.append(len(inputs[0])))
    return windows
