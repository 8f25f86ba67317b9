"""What was asked for: volumes, effort and flags, looked at as a whole before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts.adapt.effort import Effort
from scripts.adapt.refinement import REFINE
from scripts.adapt.settings import config_texts, file_times
from scripts.command.bundle import BUNDLE
from scripts.volume_io import result_stem, split_dataset

__all__ = ["Request", "absolute"]

Volumes = str | Sequence[str]


@dataclass(frozen=True)
class Request:
    """One adaptation.

    Attributes:
        source: images and labels of X, by absolute names.
        target: images of Y, and their labels where these are to score.
        out: folder of the results.
        effort: its overlays come first.
        overlays: the user's own, on train.yaml.
        overrides: keys of train.yaml.
        refinement: keys that refine.yaml adds to it.
        options: flags of `scripts.match_domains`.
        values: of the configuration: `iterations`, `warm_up_iterations`, `start_from`, `scale_x`, `rounds`, and what
            the work is estimated from.
    """

    source: Sequence[Mapping[str, str]]
    target: Sequence[Mapping[str, str]]
    out: Path
    effort: Effort
    overlays: Sequence[Path]
    overrides: Mapping[str, Any]
    refinement: Mapping[str, Any]
    options: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def images(self) -> list[str]:
        """Of Y."""
        return [item["image"] for item in self.target]

    @property
    def labels(self) -> list[str]:
        """Of Y; none where nothing is scored."""
        return [item["label"] for item in self.target if "label" in item]

    @property
    def rounds(self) -> int:
        """Of refinement; 0 where there is none."""
        return int(self.values["rounds"])

    @property
    def start_from(self) -> str | None:
        """The weights that the training starts from."""
        return None if self.values["start_from"] is None else str(self.values["start_from"])

    @cached_property
    def configs(self) -> list[str]:
        """Of the training: names of the bundle's own files, paths of others; the plan goes before the user's."""
        return ["train", *self.effort.overlays, str(self.out / "plan.yaml"), *map(str, self.overlays)]

    def result(self, image: str, kind: str) -> Path:
        """Return a result of a volume of Y: its maps or its instances."""
        return self.out / f"{result_stem(image)}_{kind}{'.h5' if kind == 'maps' else '.tif'}"

    def settings(self, effort: str) -> dict[str, Any]:
        """Return what the result depends on."""
        names = ["train", "inference", "evaluate", REFINE, *self.effort.overlays]
        configs = [*(BUNDLE / "configs" / f"{name}.yaml" for name in names), *self.overlays]
        source = {key: [item[key] for item in self.source] for key in ("image", "label")}
        return {
            "effort": effort,
            "overlays": [str(path) for path in self.overlays],
            "overrides": {name: str(value) for name, value in {**self.overrides, **self.refinement}.items()},
            "options": {name: str(value) for name, value in self.options.items()},
            "image_x": source["image"],
            "label_x": source["label"],
            "image_y": self.images,
            "configs": config_texts(configs),
            "files": file_times([*source["image"], *source["label"], *self.images], self.start_from),
            "label_y": file_times(self.labels),
        }


def absolute(name: Volumes) -> Any:
    """Return names of files or patterns that lead to the same from everywhere; `file.h5::dataset` keeps its dataset."""
    if not isinstance(name, str | os.PathLike):
        return [absolute(one) for one in name]
    path, dataset = split_dataset(name)
    return os.path.abspath(path) + (f"::{dataset}" if dataset else "")
