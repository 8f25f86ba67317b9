"""The whole method on an example pair, beside what one would do without it; `make demo` runs it.

    python -m scripts.compare.demo --output_dir outputs/demo

It writes the pair to data/ under the output folder, and what `scripts.adapt` makes of it beside that: model.pt,
imageY_maps.h5, imageY_instances.tif, instances.csv, report.html, result.json, train/. The same network trained on the
source alone and the classical recipe are scored too: source_only/, classical/, metrics.json and report.png have all
three. Y's labels only score. Given again, it resumes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scripts.adapt import adapt_files
from scripts.adapt.effort import EFFORTS
from scripts.adapt.preflight import with_warm_up
from scripts.adapt.stage import inference_words
from scripts.check import check_config, refuse
from scripts.check.path import paths
from scripts.classical import segment_file
from scripts.command.bundle import BUNDLE, as_read, run_words
from scripts.command.lock import Lock
from scripts.command.start import start
from scripts.errors import InputError
from scripts.example import make_pair, write_pair
from scripts.metrics import score_instances
from scripts.report import rows_of_scores
from scripts.report.command import report
from scripts.report.html import write_html
from scripts.volume_io import check_writable, read_volume
from scripts.volume_io.replacement import write_text

__all__ = ["demo"]

CONFIGS = [BUNDLE / "configs" / f"{name}.yaml" for name in ("train", *EFFORTS["quick"].overlays)]
SCORES = ("ap50", "ap75", "f1_50", "found", "present", "dice")


def demo(
    output_dir: str = "outputs/demo", seed: int = 1, shape: Sequence[int] = (64, 192, 192), **overrides: Any
) -> None:
    """Write an example pair, adapt to it, score and draw; print a table and the paths of the picture and the page.

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
    given = with_warm_up(EFFORTS["quick"].overlays, (), overrides)
    refuse(check_config(CONFIGS, as_read(given), "training", volumes=False).problems)
    with Lock(out / ".demo.lock", out):
        _run(out, tuple(shape), seed, given)


def _run(out: Path, shape: tuple[int, ...], seed: int, overrides: Mapping[str, Any]) -> None:
    data = out / "data"
    print("== example pair", flush=True)
    _write_pair(data, shape, seed)
    image, label = data / "imageY.tif", data / "labelY.tif"
    source = str(data / "imageX.tif"), str(data / "labelX.tif")
    result = adapt_files(*source, str(image), output_dir=str(out), label_y=str(label), **overrides)
    print("\n== the same network trained on the source alone, and the classical recipe", flush=True)
    metrics = dict(result["scores"])
    run_words(inference_words([str(image)], out / "source_only.pt", out / "source_only", [str(label)]))
    scores = json.loads((out / "source_only" / "metrics.json").read_text())
    metrics |= _prefixed("source_only_", {name: scores[name] for name in SCORES})
    segment_file(str(image), str(out / "classical" / "imageY_instances.tif"))
    scores = score_instances(read_volume(label)[0], read_volume(out / "classical" / "imageY_instances.tif")[0])
    metrics |= _prefixed("classical_", {name: scores[name] for name in SCORES})
    metrics |= {name: result[name] for name in ("minutes", "peak_memory_mb")}
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    _draw(out, image, label)
    _print_table(metrics, out)


def _write_pair(data: Path, shape: tuple[int, ...], seed: int) -> None:
    """Write the pair, or see that the files that are there are the same: a run that is resumed compares their times.

    Raises:
        InputError: they are of another seed or shape.
    """
    names = ("imageX", "labelX", "imageY", "labelY")
    if not all((data / f"{name}.tif").is_file() for name in names):
        write_pair(str(data), shape=shape, seed=seed)
        return
    pair = make_pair(shape, seed)
    for name in names:
        if not np.array_equal(read_volume(data / f"{name}.tif")[0], pair[name]):
            raise InputError(
                f"{data / name}.tif: found another volume than the example of seed {seed} and shape {shape}. Choose "
                "another output_dir, or remove that folder to run it again."
            )


def _draw(out: Path, image: Path, label: Path) -> None:
    instances, metrics = str(out / "imageY_instances.tif"), str(out / "metrics.json")
    report(
        str(image),
        out=str(out / "report.png"),
        maps=str(out / "imageY_maps.h5"),
        instances=instances,
        truth=str(label),
        metrics=metrics,
        title="example pair: Y, segmented without a label of Y",
    )
    write_html(
        str(out / "train"),
        out=str(out / "report.html"),
        image=str(image),
        instances=instances,
        label_y=str(label),
        metrics=metrics,
        title="CySGAN: example pair",
        commands=str(out / "commands.sh"),
    )


def _prefixed(prefix: str, scores: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in scores.items()}


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
