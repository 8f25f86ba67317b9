"""The whole method on an example pair, with the commands that a user would type; `make demo` runs it.

    python -m scripts.compare.demo --output_dir outputs/demo

Writes under the output folder: data/ (the pair), train/ (checkpoints, losses.csv, TensorBoard), model.pt,
imageY_maps.h5, imageY_instances.tif, metrics.json, report.png and report.html, a page for a browser.
Y's labels only score.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from scripts.check import check_config, refuse
from scripts.check.path import paths
from scripts.classical import segment_file
from scripts.command.bundle import BUNDLE, as_read, run_bundle
from scripts.command.lock import Lock
from scripts.command.start import start
from scripts.example import write_pair
from scripts.metrics import score_instances
from scripts.report import rows_of_scores
from scripts.report.command import report
from scripts.report.html import write_html
from scripts.volume_io import check_writable, read_volume
from scripts.volume_io.replacement import write_text

__all__ = ["demo"]

CONFIGS = [BUNDLE / "configs" / f"{name}.yaml" for name in ("train", "demo", "light_augmentation")]
SCORES = ("ap50", "ap75", "f1_50", "found", "present", "dice")


class PeakMemory(threading.Thread):
    """Watches the memory of this process and its children; `megabytes` is the most they held at any look.

    It looks every other second, since a look walks all pages and takes a good part of a core for that long. Pages
    shared by several processes are counted once where the system tells (Linux), else for each.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0
        self.start()

    def run(self) -> None:
        """Sample until the program ends."""
        while True:
            self.megabytes = max(self.megabytes, _memory_of_tree() / 1e6)
            time.sleep(2.0)


def demo(
    output_dir: str = "outputs/demo", seed: int = 1, shape: Sequence[int] = (64, 192, 192), **overrides: Any
) -> None:
    """Write an example pair, train, segment Y, score and draw; print a table and the paths of the picture and the page.

    Args:
        output_dir: where everything goes.
        seed: of the example pair. Not one of those (0 and 7) whose scores were looked at while settings were chosen.
        shape: of its two volumes, (Z, Y, X).
        **overrides: keys of train.yaml to change, such as `--max_iterations 20` for a quick look.

    Raises:
        InputError: the folder cannot be written, another run works there or a key is not as expected, before any work;
            or one of the commands failed.
    """
    out = Path(output_dir).resolve()
    refuse([*paths({"output_dir": str(out)})])
    check_writable(out / "report.tif")
    refuse(check_config(CONFIGS, as_read(overrides), "training", volumes=False).problems)
    with Lock(out / ".demo.lock", out):
        _run(out, tuple(shape), seed, overrides)


def _run(out: Path, shape: tuple[int, ...], seed: int, overrides: Mapping[str, Any]) -> None:
    started, memory = time.monotonic(), PeakMemory()
    image, label = out / "data" / "imageY.tif", out / "data" / "labelY.tif"
    _say("1/5 example pair")
    write_pair(str(out / "data"), shape=shape, seed=seed)
    _say("2/5 training: first on the source alone, then CySGAN")
    files = {"dataset_dir": out / "data", "output_dir": out / "train", "model_path": out / "model.pt"}
    run_bundle("training", CONFIGS, {**files, **overrides})
    _say("3/5 segmenting Y")
    metrics = _segment(image, label, out / "model.pt", out)
    _say("4/5 the same network trained on the source alone, and the classical recipe")
    metrics |= _prefixed("source_only_", _segment(image, label, out / "train" / "source_only.pt", out / "source_only"))
    segment_file(str(image), str(out / "classical" / "imageY_instances.tif"))
    scores = score_instances(read_volume(label)[0], read_volume(out / "classical" / "imageY_instances.tif")[0])
    metrics |= _prefixed("classical_", {name: scores[name] for name in SCORES})
    _say("5/5 picture and page")
    metrics |= {"minutes": (time.monotonic() - started) / 60, "peak_memory_mb": memory.megabytes}
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    report(
        str(image),
        out=str(out / "report.png"),
        maps=str(out / "imageY_maps.h5"),
        instances=str(out / "imageY_instances.tif"),
        truth=str(label),
        metrics=str(out / "metrics.json"),
        title="example pair: Y, segmented without a label of Y",
    )
    write_html(
        str(out / "train"),
        out=str(out / "report.html"),
        image=str(image),
        instances=str(out / "imageY_instances.tif"),
        label_y=str(label),
        metrics=str(out / "metrics.json"),
        title="CySGAN: example pair",
    )
    _print_table(metrics, out)


def _segment(image: Path, label: Path, weights: Path, out: Path) -> dict[str, Any]:
    files = {"image": image, "label": label, "model_path": weights, "output_dir": out}
    run_bundle("evaluating", ["inference", "evaluate"], files)
    scores = json.loads((out / "metrics.json").read_text())
    return {name: scores[name] for name in SCORES}


def _prefixed(prefix: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in scores.items()}


def _memory_of_tree() -> int:
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            memory = process.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
        except psutil.Error:
            pass  # ended meanwhile
    return total


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _print_table(metrics: Mapping[str, Any], out: Path) -> None:
    print(f"\n{'':<16}{'AP-50':>8}{'AP-75':>8}{'F1-50':>8}   found / present")
    for name, row in rows_of_scores(metrics).items():
        counts = f"{row['found']:.0f} / {row['present']:.0f}"
        print(f"{name:<16}{row['ap50']:>8.3f}{row['ap75']:>8.3f}{row['f1_50']:>8.3f}   {counts}")
    print(f"\n{metrics['minutes']:.1f} minutes, at most {metrics['peak_memory_mb']:.0f} MB of memory")
    print(f"picture: {out / 'report.png'}")
    print(f"report, for a browser: {out / 'report.html'}")


if __name__ == "__main__":
    start(demo)
