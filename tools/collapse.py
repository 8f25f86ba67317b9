"""Short trainings, healthy and broken on purpose, whose statistics tests/collapse.json keeps.

`python tools/collapse.py D --out tests/collapse.json`, D being what `python -m scripts.example --output_dir D` writes.
Half an hour on two CPU cores; `--cases healthy,frozen` makes some of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fire
import torch

from material import parsed
from scripts.handlers import CollapseWatch

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
    path = Path(out)
    for name in chosen:
        watch = CollapseWatch(interval)
        _trainer(dataset_dir, name, iterations, watch).run()
        found = json.loads(path.read_text()) if path.exists() else {}
        found[name] = {k: [_short(row.get(k)) for row in watch.history] for k in watch.history[-1]}
        path.write_text(_compact(found))


def _trainer(dataset_dir: str, name: str, iterations: int, watch: CollapseWatch) -> Any:
    changes, spoil = CASES[name]
    folder = {"dataset_dir": dataset_dir, "num_workers": 0, "epoch_length": iterations}
    parser = parsed(["train", "demo", "light_augmentation"], {**SETTINGS, **folder, **changes})
    torch.manual_seed(0)
    names = ("networks", "optimizers", "schedules", "representation", "loss_weights", "pool_size", "translation_noise")
    parts = {part: parser.get_parsed_content(part) for part in names}
    loader = parser.get_parsed_content("train#dataloader")
    from scripts.trainer import CySGANTrainer

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
    "strong_discriminator": (
        {"discriminator_learning_rate": 0.005, "learning_rate": 1e-6, "learning_rate_warm_up": 1},
        _nothing,
    ),
    "adversarial_100": ({"loss_weights::adversarial_x": 100.0, "loss_weights::adversarial_y": 100.0}, _nothing),
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
    fire.Fire(record, name="tools/collapse.py")
