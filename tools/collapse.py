"""Trainings whose statistics tests/collapse.json keeps: short ones, broken on purpose, and what whole ones left.

`python tools/collapse.py record D --out tests/collapse.json`, D being what `python -m scripts.example --output_dir D`
writes, makes the short ones; a quarter of an hour on two CPU cores, and `--cases copied,frozen` makes some of them.
`python tools/collapse.py keep outputs/train/collapse.csv NAME --out tests/collapse.json` takes one that ran.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fire
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from scripts.handlers import CollapseWatch
from scripts.handlers.table import read_table
from scripts.trainer import CySGANTrainer

from material import parsed

MODEL = Path(__file__).parents[1] / "bundle" / "models" / "model.pt"
SETTINGS = {"start_from": str(MODEL), "max_iterations": 2000, "warm_up_iterations": 0}


def record(
    dataset_dir: str, out: str, cases: str | Sequence[str] = "", iterations: int = 150, interval: int = 5
) -> None:
    """Train and keep the statistics.

    Args:
        dataset_dir: imageX.tif, labelX.tif and imageY.tif.
        out: JSON file; the cases made now replace those of the same name in it.
        cases: names, separated by commas; all by default.
        iterations: of each training.
        interval: iterations between looks.
    """
    chosen = cases.split(",") if isinstance(cases, str) and cases else list(cases) or list(CASES)
    for name in chosen:
        with TemporaryDirectory() as folder:
            table = f"{folder}/collapse.csv"
            _trainer(dataset_dir, name, iterations, CollapseWatch(interval, path=table)).run()
            keep(table, name, out)


def keep(table: str, name: str, out: str, until: int = 1_000_000_000) -> None:
    """Keep the statistics of a training that ran.

    Args:
        table: the collapse.csv that it left.
        name: of the case; what begins with "healthy" must not be commented on.
        out: JSON file; a case of the same name in it is replaced.
        until: the last iteration.
    """
    rows = read_table(Path(table), until)
    _put(Path(out), name, [{key: float(value) for key, value in row.items()} for row in rows])


def _put(path: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    found[name] = {k: [_short(row.get(k)) for row in rows] for k in rows[-1]}
    path.write_text(_compact(found))


def _trainer(dataset_dir: str, name: str, iterations: int, watch: CollapseWatch) -> Any:
    changes, spoil = CASES[name]
    folder = {"dataset_dir": dataset_dir, "num_workers": 0, "epoch_length": iterations}
    parser = parsed(["train", "demo", "light_augmentation"], {**SETTINGS, **folder, **changes})
    torch.manual_seed(0)
    names = ("networks", "optimizers", "schedules", "representation", "loss_weights", "pool_size", "translation_noise")
    parts = {part: parser.get_parsed_content(part) for part in names}
    loader = parser.get_parsed_content("train#dataloader")
    trainer = CySGANTrainer(device="cpu", max_epochs=1, data_loader=loader, handlers=[watch], **parts)
    spoil(trainer)
    return trainer


def _nothing(trainer: Any) -> None:
    """Leave it as it is."""


def _forced(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], None]:
    """Both generators' images are changed."""

    def spoil(trainer: Any) -> None:
        original = trainer._translate

        def translate(name: str, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            made, maps = original(name, image)
            return change(made), maps

        trainer._translate = translate

    return spoil


def _copied(trainer: Any) -> None:
    original = trainer._translate

    def translate(name: str, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        made, maps = original(name, image)
        return image + 0 * made, maps

    trainer._translate = translate


def _checkered(image: torch.Tensor) -> torch.Tensor:
    y, x = (torch.arange(side) for side in image.shape[-2:])
    return image + 0.1 * ((-1.0) ** (y[:, None] + x))


CASES: dict[str, tuple[dict[str, Any], Callable[[Any], None]]] = {
    "healthy": ({}, _nothing),
    "frozen": ({"discriminator_learning_rate": 0.0}, _nothing),
    "too_fast": ({"learning_rate": 0.05, "learning_rate_warm_up": 1}, _nothing),
    "constant": ({}, _forced(lambda image: 0 * image)),
    "checkered": ({}, _forced(_checkered)),
    "copied": ({}, _copied),
}


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else float(f"{value:.3g}")


def _compact(found: dict[str, dict[str, list[float | None]]]) -> str:
    cases = (
        f" {json.dumps(case)}: {{\n"
        + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
        + "\n }"
        for case, rows in found.items()
    )
    return "{\n" + ",\n".join(cases) + "\n}\n"


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    fire.Fire({"record": record, "keep": keep}, name="tools/collapse.py")
