"""Time, memory and arithmetic of the parts that cost most, each in a process of its own.

    .venv/bin/python tools/benchmark.py --threads 2 --out benchmark.json
    .venv/bin/python tools/benchmark.py --threads 2 --against benchmark.json
    .venv/bin/python tools/benchmark.py --only watershed --shape 128,512,512
    .venv/bin/python tools/benchmark.py --threads 2 --only beside
    .venv/bin/python tools/benchmark.py --only tiles overlap --run outputs/demo --configs inference

Seconds are the median of the iterations, the first left out where there are several. Core-seconds are user and system
time of all threads. Peak memory is that of the whole process (python and torch alone hold about 300 MB) during the
timed work, `memory_before_mb` what it held just before. GFLOP are the floating-point operations that the convolutions
and matrix products of an iteration carry out, counted in a pass that is not timed; the attainable GFLOP/s are those of
a large convolution, measured first. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from figure import SOURCE, Earlier, lines, rated, read_earlier
from stopwatch import Result
from workload import WORKLOADS

BUNDLE = Path(__file__).resolve().parents[1] / "bundle"
TRAINED = {"image": Path("data", "imageY.tif"), "label": Path("data", "labelY.tif"), "model": Path("model.pt")}


def benchmark(
    named: dict[str, dict[str, Any]], threads: int, out: Path | None = None, earlier: Earlier | None = None
) -> dict[str, Any]:
    """Measure workloads (name and settings) one after the other, print each and write all that are done to `out`."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
    machine = {"cores": os.cpu_count(), "threads": threads, "python": platform.python_version()}
    attainable = _apart(measure_machine)
    rates = ", ".join(f"{rate:,.1f} in {precision}" for precision, rate in attainable.items())
    print(f"attainable GFLOP/s: {rates}\nreference: {SOURCE}", flush=True)
    machine |= {"platform": platform.platform(), "attainable": attainable}
    report: dict[str, Any] = {"machine": machine, "results": {}}
    for name, settings in named.items():
        report["results"][name] = result = rated(_apart(measure, name, settings), attainable)
        print("\n".join(lines(name, result, earlier)), flush=True)
        if out:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(report, indent=2) + "\n")
    if earlier and (missing := [name for name in earlier.results if name not in named]):
        print(f"only in {earlier.name}: {', '.join(missing)}")
    return report


def measure_machine() -> dict[str, float]:
    """Measure the attainable rates; called in a process of its own, as `measure` is."""
    sys.path.insert(0, str(BUNDLE))
    from machine import attainable

    return attainable()


def measure(name: str, settings: dict[str, Any]) -> Result:
    """Measure one workload; called in the process that is its own."""
    sys.path.insert(0, str(BUNDLE))
    from scripts.errors import InputError

    workload = WORKLOADS[name]
    try:
        return {"what": workload.what, **settings, **workload.measure(settings)}
    except InputError as error:
        sys.exit(f"{name}: {error}")


def trained_files(given: argparse.Namespace) -> dict[str, Any]:
    """Files and configs that `tiles` and `overlap` need; ends the program if one of them is missing."""
    named = {key: getattr(given, key) or (given.run and given.run / path) for key, path in TRAINED.items()}
    others = "--image, --label and --model"
    if not all(named.values()):
        sys.exit(
            f"tiles and overlap need a trained network: name a folder of scripts.compare.demo by --run, or {others}."
        )
    if missing := [str(path) for path in named.values() if not path.exists()]:
        sys.exit(
            f"{', '.join(missing)}: no such file. Expected what scripts.compare.demo wrote, or others by {others}."
        )
    return {**{key: str(path) for key, path in named.items()}, "configs": given.configs.split(",")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = _command_line()
    given = parser.parse_args(arguments)
    trained = given.run or given.model
    asked = {"": True, "--metrics": given.metrics, "--run": trained}
    names = given.only or [name for name, workload in WORKLOADS.items() if asked.get(workload.asked)]
    repeated = {key: value for key in ("shape", "iterations") if (value := getattr(given, key))}
    if repeated and len(names) != 1:
        parser.error("--shape and --iterations go with --only and one NAME")
    if given.shape and not WORKLOADS[names[0]].shape:
        parser.error(f"{names[0]} takes its shape from the volume: leave --shape out")
    named = {name: WORKLOADS[name].settings(repeated) for name in names}
    for name in names:
        if WORKLOADS[name].asked == "--run":
            named[name] |= trained_files(given)
    earlier = read_earlier(given.against) if given.against else None
    benchmark(named, given.threads, given.out, earlier)


def _command_line() -> argparse.ArgumentParser:
    listed = "\n".join(
        f"  {name:38}{work.what}" + (f" (by {work.asked})" if work.asked else "") for name, work in WORKLOADS.items()
    )
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=f"{__doc__}\nWorkloads:\n{listed}", formatter_class=style)
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="NAME", help="these workloads alone")
    parser.add_argument("--metrics", action="store_true", help="the scores too (1.5 GB)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch and numpy")
    parser.add_argument("--shape", type=_shape, help="Z,Y,X, with one --only")
    parser.add_argument("--iterations", type=int, help="repetitions, with one --only")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--against", type=Path, metavar="JSON", help="file of an earlier --out: print new / old")
    group = parser.add_argument_group("a trained network, for tiles and overlap")
    group.add_argument("--run", type=Path, metavar="DIR", help="folder that scripts.compare.demo wrote")
    group.add_argument("--configs", default="inference", help="configs by name, default inference,demo")
    for name, path in TRAINED.items():
        group.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"instead of {path} in DIR")
    return parser


def _shape(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


if __name__ == "__main__":
    main()
