"""Time and memory of the parts that cost most, each in a process of its own.

    .venv/bin/python tools/benchmark.py --threads 2 --out benchmark.json
    .venv/bin/python tools/benchmark.py --only watershed --shape 128,512,512

Seconds are the median of the iterations, the first left out where there are several. Core-seconds are user and system
time of all threads. Peak memory is that of the whole process (python and torch alone hold about 300 MB) during the
timed work, `memory_before_mb` what it held just before. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "bundle" / "configs"

Shape = tuple[int, ...]
Result = dict[str, Any]


class Stopwatch:
    """Seconds and core-seconds of each lap; memory from the moment the watch is made."""

    def __init__(self) -> None:
        self.before = psutil.Process().memory_info().rss
        self.laps: list[tuple[float, float]] = []
        _forget_peak()

    def start(self, *_: Any) -> None:
        self.begun = time.perf_counter(), time.process_time()

    def stop(self, *_: Any) -> None:
        self.laps.append((time.perf_counter() - self.begun[0], time.process_time() - self.begun[1]))

    def time(self, work: Callable[[], Any], iterations: int) -> Any:
        """Return what the last of the runs of `work` returned."""
        for _ in range(iterations):
            self.start()
            value = work()
            self.stop()
        return value

    def result(self, voxels: int = 0, **more: Any) -> Result:
        """Sum up; with `voxels` a lap went through, their number per second and core-second."""
        seconds, core_seconds = (statistics.median(column) for column in zip(*self.laps[1:] or self.laps, strict=True))
        rates = {"voxels_per_second": voxels / seconds, "voxels_per_core_second": voxels / core_seconds}
        memory = {"peak_memory_mb": _peak() / 1e6, "memory_before_mb": self.before / 1e6}
        times = {"seconds": seconds, "core_seconds": core_seconds, "iterations": len(self.laps)}
        return times | (rates if voxels else {}) | memory | more


# ---- workloads: what a name stands for, with the shapes and repetitions that are the default -------------------------
def train_published(shape: Shape = (17, 129, 129), iterations: int = 1) -> Result:
    """One training iteration, published network, batch of 2 and 2, all nine terms."""
    return _train(["train"], shape, iterations)


def train_demo(shape: Shape = (16, 32, 32), iterations: int = 12) -> Result:
    """One training iteration, demo network (patches of half resolution), batch of 2 and 2, all nine terms."""
    return _train(["train", "demo"], shape, iterations)


def inference(shape: Shape = (64, 320, 320), iterations: int = 1) -> Result:
    """A volume through the published network, windows of 33 x 257 x 257 with half overlap, blended."""
    import torch

    parser = _parser(["inference"])
    parser["inferer"]["progress"] = False
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content("inferer")
    image = torch.rand(1, 1, *shape) * 2 - 1
    windows = []
    network.register_forward_hook(lambda _, inputs, __: windows.append(len(inputs[0])))
    watch = Stopwatch()
    watch.time(lambda: inferer(image, network), iterations)
    return watch.result(int(np.prod(shape)), windows=sum(windows) // iterations)


def watershed(shape: Shape = (64, 256, 256), iterations: int = 4) -> Result:
    """bcd_watershed of the maps of touching ellipsoids, bytes, default thresholds."""
    from scipy.ndimage import gaussian_filter

    from scripts.watershed import bcd_watershed

    label = ellipsoids(shape, (12, 24, 24))
    maps = _representation().encode(label)
    maps[2] = (maps[2] + 1) / 2
    blurred = np.stack([gaussian_filter(one, (0.5, 1, 1)) for one in maps])
    maps = (255 * blurred).astype(np.uint8)
    del blurred
    watch = Stopwatch()
    labels = watch.time(lambda: bcd_watershed(maps), iterations)
    result = watch.result(int(np.prod(shape)))
    return result | {"instances": int(label.max()), "found": int(np.count_nonzero(np.unique(labels)))}


def encoding(shape: Shape = (17, 129, 129), iterations: int = 20) -> Result:
    """Foreground, contour and distance of a label patch."""
    label = ellipsoids(shape, (9, 27, 27))
    representation = _representation()
    watch = Stopwatch()
    watch.time(lambda: representation.encode(label), iterations)
    return watch.result(instances=len(np.unique(label)) - 1)


def metrics(shape: Shape = (400, 400, 400), iterations: int = 1) -> Result:
    """All scores of 10,000 instances against their copies moved by a voxel or two."""
    from scripts.metrics import score_instances

    z, y, x = (np.arange(n) * count // n for n, count in zip(shape, (25, 20, 20), strict=True))
    truth = (z[:, None, None] * 400 + y[:, None] * 20 + x + 1).astype(np.int32)
    prediction = np.roll(truth, (1, 2, 1), (0, 1, 2))
    watch = Stopwatch()
    scores = watch.time(lambda: score_instances(truth, prediction), iterations)
    return watch.result(truth.size, instances=int(scores["present"]))


WORKLOADS: dict[str, Callable[..., Result]] = {
    work.__name__: work for work in (train_published, train_demo, inference, watershed, encoding, metrics)
}


# ---- what they are made of -------------------------------------------------------------------------------------------
def ellipsoids(shape: Shape, pitch: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Label (Z, Y, X) of ellipsoids about `pitch` (z, y, x) wide, most of them touching their neighbours."""
    random = np.random.default_rng(seed)
    axes = [np.arange(step / 2, length, step) for length, step in zip(shape, pitch, strict=True)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    centres += random.uniform(-0.15, 0.15, centres.shape) * pitch
    label, nearest = np.zeros(shape, np.uint16), np.ones(shape, np.float32)
    for number, centre in enumerate(centres, 1):
        radii = random.uniform(0.45, 0.65, 3) * pitch
        box = tuple(slice(max(0, int(c - r)), int(c + r) + 2) for c, r in zip(centre, radii, strict=True))
        grid = np.ogrid[tuple(slice(b.start, min(b.stop, n)) for b, n in zip(box, shape, strict=True))]
        distance = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True))
        closer = distance < nearest[box]
        label[box][closer], nearest[box][closer] = number, distance[closer]
    return label


def _train(configs: list[str], shape: Shape, iterations: int) -> Result:
    import torch
    from ignite.engine import Events

    from scripts.trainer import CySGANTrainer

    parser = _parser(configs)
    parser["warm_up_iterations"] = 0
    part = parser.get_parsed_content
    size = part("batch_size")
    batch = {name: torch.rand(size, 1, *shape) * 2 - 1 for name in ("image_x", "image_y", "recon_x", "recon_y")}
    labels = [ellipsoids(shape, (12, 24, 24), seed) for seed in range(size)]
    batch["target_x"] = torch.stack([torch.from_numpy(part("representation").encode(label)) for label in labels])
    names = "networks optimizers schedules representation loss_weights semi_supervised pool_size max_gradient_norm amp"
    trainer = CySGANTrainer("cpu", 1, [batch] * iterations, **{name: part(name) for name in names.split()})
    watch = Stopwatch()
    trainer.add_event_handler(Events.ITERATION_STARTED, watch.start)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, watch.stop)
    trainer.run()
    return watch.result(terms=sum(weight > 0 for weight in trainer.loss_weights.values()))


def _parser(configs: list[str]) -> Any:
    import torch
    from monai.bundle import ConfigParser

    torch.manual_seed(0)
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in configs])
    parser["bundle_root"], parser["device"] = str(ROOT / "bundle"), "$torch.device('cpu')"
    return parser


def _representation() -> Any:
    from scripts.representation import Contour, Foreground, Representation, SignedDistance

    return Representation([Foreground(), Contour(), SignedDistance()])


def _forget_peak() -> None:
    """Let the peak start from here, so that it leaves out what preparation took; possible on Linux alone."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        print("the peak of memory includes preparation on this system", file=sys.stderr)


def _peak() -> int:
    """Most memory (bytes) that this process held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# ---- command line ----------------------------------------------------------------------------------------------------
def measure(name: str, settings: dict[str, Any]) -> Result:
    """Run one workload; called in the process that is its own."""
    sys.path.insert(0, str(ROOT / "bundle"))
    return {"what": WORKLOADS[name].__doc__, **settings, **WORKLOADS[name](**settings)}


def benchmark(names: list[str], settings: dict[str, Any], threads: int, out: Path | None) -> dict[str, Any]:
    """Run workloads one after the other, print each and write all that are done to `out`."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
    machine = {"cores": os.cpu_count(), "threads": threads, "python": platform.python_version()}
    report: dict[str, Any] = {"machine": machine | {"platform": platform.platform()}, "results": {}}
    for name in names:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            report["results"][name] = process.submit(measure, name, settings).result()
        print(_line(name, report["results"][name]), flush=True)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(report, indent=2) + "\n")
    return report


def _line(name: str, result: Result) -> str:
    text = f"{name:16}{result['seconds']:9.3f} s {result['core_seconds']:9.3f} core-s"
    text += f" {result['peak_memory_mb']:9.0f} MB ({result['memory_before_mb']:.0f} before)"
    if "voxels_per_second" in result:
        text += f"  {result['voxels_per_second']:,.0f} voxels/s, {result['voxels_per_core_second']:,.0f} /core-s"
    counts = [f"{result[key]} {key}" for key in ("terms", "windows", "instances", "found") if key in result]
    return ", ".join([text, *counts])


def main() -> None:
    """Read the command line."""
    listed = "\n".join(f"  {name:16}{work.__doc__}" for name, work in WORKLOADS.items())
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=f"{__doc__}\nWorkloads:\n{listed}", formatter_class=style)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="NAME", help="these workloads alone")
    parser.add_argument("--metrics", action="store_true", help="the scores too (1.5 GB)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch and numpy")
    parser.add_argument("--shape", type=lambda text: tuple(map(int, text.split(","))), help="Z,Y,X, with one --only")
    parser.add_argument("--iterations", type=int, help="repetitions, with one --only")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args()
    names = given.only or [name for name in WORKLOADS if name != "metrics" or given.metrics]
    settings = {key: value for key in ("shape", "iterations") if (value := getattr(given, key))}
    if settings and len(names) != 1:
        parser.error("--shape and --iterations go with --only and one NAME")
    benchmark(names, settings, given.threads, given.out)


if __name__ == "__main__":
    main()
