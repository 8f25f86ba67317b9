"""Time and memory of training and inference on a GPU, and how far its maps are from the CPU's.

    .venv/bin/python tools/gpu.py
    .venv/bin/python tools/gpu.py --parts inference

Seconds are the median of the iterations but the first; memory is the most that PyTorch's tensors held on the GPU.
Nothing else should run on it meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from material import Shape, parsed
from stopwatch import Stopwatch
from training import train

GPU = {"device": "$torch.device('cuda')"}
PATCH, VOLUME = (17, 129, 129), (64, 512, 512)
STEPS: Mapping[str, tuple[Shape, tuple[str, ...], Mapping[str, Any]]] = {
    "default network, 16 x 32 x 32": ((16, 32, 32), ("train",), {}),
    "default network, 16 x 32 x 32, float16": ((16, 32, 32), ("train",), {"amp": True}),
    "published network, 17 x 129 x 129": (PATCH, ("train", "published"), {}),
    "published network, float16": (PATCH, ("train", "published"), {"amp": True}),
    "published network, remade": (PATCH, ("train", "published"), {"network_def#checkpoint_activations": True}),
}
NETWORKS = {"default network": ("inference",), "published network": ("inference", "published")}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=["training", "inference"], default=["training", "inference"])
    parts = parser.parse_args().parts
    if not torch.cuda.is_available():
        sys.exit("no CUDA device: expected a GPU and a torch that was built for it.")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n\n| | s | GPU memory, MB |\n|---|---|---|")
    for name, (shape, configs, changes) in STEPS.items() if "training" in parts else ():
        _forget()
        result = train(shape, 40, configs, {**GPU, **changes})
        print(f"| iteration, {name} | {result['seconds']:.4f} | {_megabytes():,.0f} |", flush=True)
    for name, configs in NETWORKS.items() if "inference" in parts else ():
        for amp in (False, True):
            _forget()
            seconds, off = _inference(configs, amp)
            what = f"volume of {' x '.join(map(str, VOLUME))}, {name}{', bfloat16' if amp else ''}"
            what += f" ({prod(VOLUME) / seconds / 1e6:.2f} M voxels/s; a window's maps off by {off:.0e})"
            print(f"| {what} | {seconds:.2f} | {_megabytes():,.0f} |", flush=True)


def _inference(configs: tuple[str, ...], amp: bool) -> tuple[float, float]:
    """Seconds for a volume, all of it on the GPU; and how far the maps of a window are from the CPU's in float32."""
    parser = parsed(configs, GPU)
    parser["inferer"].update({"progress": False, "with_image": False, "as_bytes": False, "amp": amp})
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content("inferer")
    image = torch.rand(1, 1, *VOLUME, device="cuda") * 2 - 1
    watch = Stopwatch()
    watch.time(lambda: inferer(image, network), 2)
    part = image[(..., *(slice(side) for side in inferer.roi_size))]
    with torch.no_grad():
        with torch.autocast("cuda", torch.bfloat16, enabled=amp):
            here = network.maps(part).float().sigmoid().cpu()
        there = network.cpu().maps(part.cpu()).sigmoid()
    return watch.result()["seconds"], float((here - there).abs().max())


def _forget() -> None:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def _megabytes() -> float:
    return torch.cuda.max_memory_allocated() / 1e6


if __name__ == "__main__":
    main()
