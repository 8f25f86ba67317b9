"""Time and memory of the blockwise watershed on maps of any size, which are made from a seed first.

    .venv/bin/python tools/scaling.py --shape 256,512,512 --workers 1 --folder scaling
    .venv/bin/python tools/scaling.py --shape 1024,1024,1024 --workers 2 --folder scaling
    .venv/bin/python tools/scaling.py --shape 256,512,512 --workers 2 --scheduler local --folder scaling
    .venv/bin/python tools/scaling.py --shape 256,512,512 --whole --folder scaling
    .venv/bin/python tools/scaling.py --shape 256,512,512 --floats --folder scaling

The maps are those of touching ellipsoids: four tiles of 128 x 256 x 256 voxels, turned and put together at random. They
are bytes, or floats from 0 to 1 with noise, hardly two alike; they are kept in the folder and used again. Memory is
the most that any one process held, looked at ten times a second.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
TILE = (128, 256, 256)


def main() -> None:
    """Do what the command line says."""
    given = _command_line().parse_args()
    sys.path.insert(0, str(BUNDLE))
    maps = make_maps(given.folder, given.shape, given.floats)
    voxels = int(np.prod(given.shape))
    seconds, memory, core_seconds, text = whole(maps) if given.whole else blockwise(maps, given)
    figures = {"shape": given.shape, "workers": given.workers, "scheduler": given.scheduler, "whole": given.whole}
    figures |= {"seconds": seconds, "voxels_per_second": voxels / seconds, "core_seconds": core_seconds}
    figures |= {"voxels_per_core_second": voxels / core_seconds, "memory_mb": memory / 1e6, "text": text}
    print(json.dumps(figures, indent=1))


def blockwise(maps: Path, given: argparse.Namespace) -> tuple[float, float, float, str]:
    """Run the command; seconds, bytes of the largest process, core-seconds, and what it printed."""
    out = maps.with_name("instances.ome.zarr")
    for old in (out, Path(f"{out}.work")):
        shutil.rmtree(old, ignore_errors=True)
    out.with_name("instances.csv").unlink(missing_ok=True)
    command = [sys.executable, "-m", "scripts.blockwise", "--pred", str(maps), "--out", str(out)]
    command += ["--workers", str(given.workers), "--block", ",".join(map(str, given.block))]
    command += ["--scheduler", given.scheduler] if given.scheduler else []
    command += ["--unit", "true"] if given.floats else []
    begun = time.perf_counter()
    run = subprocess.Popen(command, cwd=BUNDLE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = _Watch(run.pid)
    watch.start()
    printed, log = run.communicate()
    seconds = time.perf_counter() - begun
    if run.returncode:
        sys.exit(log[-2000:])
    stages = [line for line in log.splitlines() if " s, " in line]
    return seconds, watch.most, watch.core_seconds, "\n".join([*stages, printed.strip()])


def whole(maps: Path) -> tuple[float, float, float, str]:
    """Decode in memory, in this process; the maps are read before."""
    from scripts.volume_io import open_volume
    from scripts.watershed import bcd_watershed

    volume = open_volume(maps, ndim=4)
    array = volume[tuple(slice(0, size) for size in volume.shape)]
    watch = _Watch(psutil.Process().pid)
    watch.start()
    begun, used = time.perf_counter(), time.process_time()
    labels = bcd_watershed(array)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    watch.stop()
    return seconds, watch.most, used, f"{np.count_nonzero(np.unique(labels))} instances"


class _Watch(threading.Thread):
    """Memory and time of a process and those that it starts, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process, self.most, self.times, self.going = psutil.Process(pid), 0.0, dict[int, float](), True

    def run(self) -> None:
        while self.going:
            try:
                for process in [self.process, *self.process.children(recursive=True)]:
                    self.most = max(self.most, process.memory_info().rss)
                    self.times[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                self.going = self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE
            time.sleep(0.1)

    def stop(self) -> None:
        self.going = False

    @property
    def core_seconds(self) -> float:
        return sum(self.times.values())


def make_maps(folder: Path, shape: tuple[int, ...], floats: bool = False) -> Path:
    """Store of maps (3, Z, Y, X) made of tiles; an earlier one is used again."""
    from scripts.volume_io import create_zarr

    path = folder.resolve() / ("x".join(map(str, shape)) + "_floats" * floats) / "maps.zarr"
    done = path.with_name("done")
    if done.exists():
        return path
    shutil.rmtree(path.parent, ignore_errors=True)
    store = create_zarr(
        path, (3, *shape), np.float32 if floats else np.uint8, (1, 64, 128, 128), (2.0, 1.0, 1.0), _NAMES
    )
    sides = tuple(min(side, size) for side, size in zip(TILE, shape, strict=True))
    tiles, rng = [_tile(sides, seed) for seed in range(4)], np.random.default_rng(0)
    if floats:
        tiles = [_as_floats(tile, np.random.default_rng(seed)) for seed, tile in enumerate(tiles)]
    for corner in itertools.product(*(range(0, size, side) for size, side in zip(shape, sides, strict=True))):
        tile = tiles[rng.integers(4)][:, :: rng.choice([-1, 1]), :: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
        box = tuple(slice(start, min(start + side, n)) for start, side, n in zip(corner, sides, shape, strict=True))
        store[(slice(0, 3), *box)] = tile[(slice(0, 3), *(slice(0, b.stop - b.start) for b in box))]
    done.touch()
    return path


def _as_floats(tile: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noisy = tile / np.float32(255) + rng.normal(0, 1e-3, tile.shape).astype(np.float32)
    return np.clip(noisy, 0, 1)


_NAMES = ("foreground", "contour", "distance")


def _tile(shape: tuple[int, ...], seed: int) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    from material import ellipsoids, representation

    maps = representation().encode(ellipsoids(shape, (12, 24, 24), seed))
    maps[2] = (maps[2] + 1) / 2
    return (255 * np.stack([gaussian_filter(one, (0.5, 1, 1)) for one in maps])).astype(np.uint8)


def _command_line() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=style)
    parser.add_argument("--shape", type=_numbers, default=(256, 512, 512), help="Z,Y,X")
    parser.add_argument("--block", type=_numbers, default=(128, 256, 256), help="Z,Y,X")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scheduler", help="local, for a Dask cluster of the workers")
    parser.add_argument("--floats", action="store_true", help="maps of floats")
    parser.add_argument("--whole", action="store_true", help="decode in memory instead")
    parser.add_argument("--folder", type=Path, required=True, help="for maps and instances")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
