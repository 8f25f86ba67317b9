"""One method, one seed: train, segment Y, score; what is finished is not done again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scripts.adapt.record import Record
from scripts.adapt.settings import check_settings, config_texts, read_settings, write_settings
from scripts.adapt.stage import inference_words
from scripts.classical import segment_file
from scripts.command.bundle import BUNDLE, run_bundle, run_words
from scripts.compare.method import Method
from scripts.judge.candidate import VolumeCrops, judge_model
from scripts.judge.consistency import predictor_of
from scripts.judge.volume import labelled_solidity, volume_crops
from scripts.metrics import score_instances
from scripts.predictor import Predictor
from scripts.volume_io import read_label, read_volume, result_stem
from scripts.volume_io.replacement import write_text

__all__ = ["Run", "Target"]


@dataclass(frozen=True)
class Target:
    """The volumes that are segmented, and their labels where these are to score.

    Attributes:
        images: names.
        labels: of the images.
        label_x: instances of X, to which the judge compares what is found where there are no labels.
    """

    images: Sequence[str]
    labels: Sequence[str] | None
    label_x: Sequence[str] = ()
    _crops: list[VolumeCrops] = field(default_factory=list)

    def crops(self, predictor: Predictor) -> list[VolumeCrops]:
        """What all methods, which see Y at one scale, are judged on."""
        if not self._crops:
            self._crops.extend(volume_crops(image, predictors=[predictor]) for image in self.images)
        return self._crops

    @cached_property
    def solidity(self) -> float | None:
        """See `scripts.judge.volume.labelled_solidity`."""
        return labelled_solidity(self.label_x)


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
        files: size and time of what is read, by name: volumes of X, images of Y, weights.
        label_y: the same of Y's labels. Where they alone changed, a finished run is only scored again.
    """

    folder: Path
    method: Method
    seed: int
    overlays: Sequence[Path]
    overrides: Mapping[str, Any]
    target: Target
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
            "configs": config_texts(configs),
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
        found = read_settings(self.folder)
        return (self.folder / "result.json").is_file() and found.get("label_y") != self.settings["label_y"]

    def check(self) -> None:
        """See that what an earlier command left in the folder was made with the same settings, of the same files.

        Raises:
            InputError: it was not; the settings or files are named.
        """
        names = ("result.json", "stages.json", "train")
        check_settings(self.folder, self.settings, names, self.method.needs_labels_of_y)

    def result(self) -> dict[str, Any]:
        """Run what is not finished, and return the scores, `hours` of training and `settings`."""
        if not self.finished:
            (self.folder / "result.json").unlink(missing_ok=True)  # first: it is of other labels than the new settings
            write_settings(self.folder, self.settings)
            scores = self._learned() if self.method.trained else self._classical()
            write_text(
                self.folder / "result.json",
                json.dumps({**scores, "hours": self._record.seconds("training") / 3600}, indent=2) + "\n",
            )
        return json.loads((self.folder / "result.json").read_text())

    def outputs(self) -> tuple[Path | None, Path]:
        """Files of the maps, None for a method without, and of the instances of the first volume."""
        maps = self._named("maps", self.target.images[0], ".h5")
        return (maps if self.method.trained else None), self._named("instances", self.target.images[0])

    @cached_property
    def _record(self) -> Record:
        return Record(self.folder)

    def _learned(self) -> dict[str, Any]:
        if not self._record.done("training"):
            with self._record.stage("training"):
                self._train()
        run_words(inference_words(self.target.images, self.folder / "model.pt", self.folder, self.target.labels))
        if self.target.labels is None:
            counts = [_count(read_volume(self._named("instances", image))[0]) for image in self.target.images]
            return {"found": float(np.mean(counts)), "score": self._score()}
        return dict(json.loads((self.folder / "metrics.json").read_text()))

    def _score(self) -> float:
        """How steady and certain the model is on Y, without labels."""
        predictor = predictor_of(self.folder / "model.pt")
        judged = judge_model(predictor, self.target.crops(predictor), self.method.title, self.target.solidity)
        for veto in judged.vetoes:
            print(f"{self.method.title}: {veto}", flush=True)
        return judged.score.value

    def _train(self) -> None:
        files = {"output_dir": self.folder / "train", "model_path": self.folder / "model.pt", "seed": self.seed}
        overlay = [self.method.overlay] if self.method.overlay else []
        run_bundle("training", ["train", *self.overlays, *overlay], {**self.overrides, **files, "resume": "auto"})

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


def _count(instances: np.ndarray) -> int:
    return int(np.count_nonzero(np.unique(instances)))
