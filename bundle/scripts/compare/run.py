"""One method, one seed: train, segment Y, score; what is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scripts.checkpoint import list_checkpoints
from scripts.classical import segment_file
from scripts.command.bundle import BUNDLE, run_bundle
from scripts.compare.method import Method
from scripts.errors import InputError
from scripts.metrics import score_instances
from scripts.volume_io import read_label, read_volume, result_stem
from scripts.volume_io.replacement import write_text

__all__ = ["Run", "Target"]

_BY_FILE = ("files", "label_y")
"""Settings that are sizes and times of files."""


@dataclass(frozen=True)
class Target:
    """The volumes that are segmented and how inference sees them, as the training's configuration has it."""

    images: Sequence[str]
    labels: Sequence[str] | None
    seen_as: Mapping[str, Any]
    """Keys of inference.yaml: scale, intensity_gamma, intensity_percentiles."""


@dataclass
class Run:
    """One training and what came of it, in a folder of its own.

    Args:
        folder: gets train/, model.pt, the maps and instances, metrics.json (with labels) and result.json.
        method: what is run.
        seed: of the training.
        overlays: files on train.yaml, before the method's own.
        overrides: keys of train.yaml.
        target: what is segmented.
        iterations: of the training.
        files: size and time of what is read, by name: volumes of X, images of Y, weights.
        label_y: the same of Y's labels. Where they alone changed, a finished run is only scored again.
    """

    folder: Path
    method: Method
    seed: int
    overlays: Sequence[Path]
    overrides: Mapping[str, Any]
    target: Target
    iterations: int
    files: Mapping[str, str] = field(default_factory=dict)
    label_y: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the result depends on, to be compared with an earlier run's."""
        names = ["train", "inference", "evaluate", *([self.method.overlay] if self.method.overlay else [])]
        configs = [*(BUNDLE / "configs" / f"{name}.yaml" for name in names), *self.overlays]
        return {
            "method": self.method.title,
            "seed": self.seed,
            "overlays": [path.name for path in self.overlays],
            "overrides": {name: str(value) for name, value in self.overrides.items()},
            "images": [str(image) for image in self.target.images],
            "labels": self.target.labels and [str(label) for label in self.target.labels],
            "configs": [f"{hashlib.sha256(path.read_bytes()).hexdigest()[:12]} {path.name}" for path in configs],
            "files": dict(self.files),
            "label_y": dict(self.label_y),
        }

    @property
    def finished(self) -> bool:
        """Whether the result is there, and of the labels that are given."""
        return (self.folder / "result.json").is_file() and not self.rescored

    @property
    def rescored(self) -> bool:
        """Whether a result is there that was scored with labels that have changed since."""
        found = self._found()
        return (self.folder / "result.json").is_file() and found.get("label_y") != self.settings["label_y"]

    def check(self) -> None:
        """See that what an earlier command left in the folder was made with the same settings, of the same files.

        Raises:
            InputError: it was not; the settings or files are named.
        """
        found, now = self._found(), self.settings
        advice = "Choose another output_dir, or remove that folder to run it again."
        if not found and any((self.folder / name).exists() for name in ("result.json", "trained", "train")):
            raise InputError(
                f"{self.folder} holds a run that does not say how it was made (no settings.json). {advice}"
            )
        if found and "files" not in found:
            raise InputError(
                f"{self.folder} holds a run of an earlier version, which did not keep size and time of what it read: a "
                f"change since would not be seen. {advice}"
            )
        if found and (other := [name for name in now if name not in _BY_FILE and found.get(name) != now[name]]):
            changed = sorted(name for name in other if name != "configs") + _changed_configs(found, now)
            raise InputError(f"{self.folder} holds a run with other settings ({', '.join(changed)}). {advice}")
        if found and (files := _changed_files(found, now, self.method.needs_labels_of_y)):
            raise InputError(
                f"{self.folder} holds a run of files that have changed since: {'; '.join(files)}. {advice}"
            )

    def result(self) -> dict[str, Any]:
        """Run what is not finished, and return the scores, `hours` of training and `settings`."""
        if not self.finished:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "result.json").unlink(missing_ok=True)  # first: it is of other labels than the new settings
            write_text(self.folder / "settings.json", json.dumps(self.settings, indent=2) + "\n")
            scores = self._learned() if self.method.trained else self._classical()
            write_text(self.folder / "result.json", json.dumps({**scores, "hours": self._hours()}, indent=2) + "\n")
        return json.loads((self.folder / "result.json").read_text())

    def outputs(self) -> tuple[Path | None, Path]:
        """Files of the maps, None for a method without, and of the instances of the first volume."""
        maps = self._named("maps", self.target.images[0], ".h5")
        return (maps if self.method.trained else None), self._named("instances", self.target.images[0])

    def _found(self) -> dict[str, Any]:
        """The settings of an earlier command; none where there was none."""
        path = self.folder / "settings.json"
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} cannot be read: {error}. Remove its folder to run it again.") from error

    def _learned(self) -> dict[str, Any]:
        if not (self.folder / "trained").is_file():
            self._train()
        base = {"output_dir": self.folder, "model_path": self.folder / "model.pt", "image": _value(self.target.images)}
        overlays = self._overlays_of_inference()
        if self.target.labels is None:
            run_bundle("run", ["inference", *overlays], {**base, **self.target.seen_as})
            counts = [_count(read_volume(self._named("instances", image))[0]) for image in self.target.images]
            return {"found": float(np.mean(counts))}
        labels = {"label": _value(self.target.labels)}
        run_bundle("evaluating", ["inference", *overlays, "evaluate"], {**base, **labels, **self.target.seen_as})
        return dict(json.loads((self.folder / "metrics.json").read_text()))

    def _train(self) -> None:
        folder = self.folder / "train"
        done = list_checkpoints(folder)
        if done and int(done[-1].stem.rpartition("_")[2]) >= self.iterations:
            done.pop().unlink()  # stopped while it wrote its last files: from the end there is nothing to go on
        files = {"output_dir": folder, "model_path": self.folder / "model.pt", "seed": self.seed}
        overlay = [self.method.overlay] if self.method.overlay else []
        started = time.monotonic()
        try:
            run_bundle(
                "training",
                ["train", *self.overlays, *overlay],
                {**self.overrides, **files, **({"resume": True} if done else {})},
            )
        finally:
            with open(self.folder / "hours.txt", "a") as file:
                file.write(f"{(time.monotonic() - started) / 3600:.4f}\n")
        write_text(self.folder / "trained", "")

    def _classical(self) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        for number, image in enumerate(self.target.images):
            segment_file(image, out := self._named("instances", image))
            instances = read_volume(out)[0]
            if self.target.labels is None:
                rows.append({"found": _count(instances)})
            else:
                rows.append(score_instances(read_label(self.target.labels[number], image), instances))
        return {**{name: float(np.mean([row[name] for row in rows])) for name in rows[0]}, "volumes": rows}

    def _named(self, postfix: str, image: str, extension: str = ".tif") -> Path:
        """The file that inference writes for a volume."""
        return self.folder / f"{result_stem(image)}_{postfix}{extension}"

    def _hours(self) -> float:
        path = self.folder / "hours.txt"
        return sum(map(float, path.read_text().split())) if path.is_file() else 0.0

    def _overlays_of_inference(self) -> list[Path]:
        """The user's overlays without what reaches into parts that only train.yaml has."""
        known = yaml.safe_load((BUNDLE / "configs" / "inference.yaml").read_text())
        files = []
        for number, overlay in enumerate(self.overlays):
            config = yaml.safe_load(overlay.read_text()) or {}
            kept = {key: value for key, value in config.items() if re.split("::|#", key.lstrip("+~"))[0] in known}
            path = self.folder / f"inference_{number}.yaml"
            write_text(path, yaml.safe_dump(kept, sort_keys=False))
            files.append(path)
        return files


def _changed_configs(found: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the configurations whose text is another."""
    then = found.get("configs") or []
    texts = {*now["configs"], *(then if isinstance(then, list) else [])}
    return sorted({text.partition(" ")[2] for text in texts if not (text in then and text in now["configs"])})


def _changed_files(found: Mapping[str, Any], now: Mapping[str, Any], labels_count: bool) -> list[str]:
    """What was read and is another file now: its name, and size and time then and now."""
    groups = _BY_FILE if labels_count else _BY_FILE[:1]
    then = {name: state for group in groups for name, state in (found.get(group) or {}).items()}
    is_now = {name: state for group in groups for name, state in now[group].items()}
    return [
        f"{name} was {then.get(name, 'not among them')}, is {is_now.get(name, 'not among them')}"
        for name in {**then, **is_now}
        if then.get(name) != is_now.get(name)
    ]


def _count(instances: np.ndarray) -> int:
    return int(np.count_nonzero(np.unique(instances)))


def _value(paths: Sequence[str]) -> str | list[str]:
    """A list as MONAI's command line reads it, a single path as it is."""
    return [str(path) for path in paths] if len(paths) > 1 else str(paths[0])
