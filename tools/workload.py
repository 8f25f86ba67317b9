"""What can be measured, by name: the function that does it, and the shapes and repetitions that are the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from stopwatch import Result

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Workload:
    """One thing to measure.

    Attributes:
        what: said in the help and in the file of figures.
        work: module and function; imported only where it runs, so that the command line need not wait for torch.
        shape: (Z, Y, X); None where a volume that is read decides.
        iterations: repetitions.
        options: further arguments of the function.
        asked: the option that asks for it, where it is not part of the default run.
    """

    what: str
    work: str
    shape: Shape | None
    iterations: int
    options: Mapping[str, Any] = field(default_factory=dict)
    asked: str = ""

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Shape and repetitions, those `given` first."""
        return ({"shape": self.shape} if self.shape else {}) | {"iterations": self.iterations, **given}

    def measure(self, settings: Mapping[str, Any]) -> Result:
        """Do the work in this process."""
        module, function = self.work.split(".")
        return getattr(import_module(module), function)(**settings, **self.options)


_STEP = "one training iteration"
_PUBLISHED = f"{_STEP}, published network, batch of 2 and 2, all nine terms"
_SMALL = f"{_STEP}, generators of a quarter of the published width, batch of 1 and 1, all nine terms"
_WINDOW = "maps of one window through the published generator"
_VOLUME = "maps of a volume, published generator, windows of 33 x 257 x 257 with half overlap, blended"
_HALF, _KEPT = {"amp": True}, {"network_def#checkpoint_activations": False}
_NARROW = {"network_def#filters": [8, 16, 24, 32, 40], "batch_size": 1}
_PATCH = (17, 129, 129)


def _step(
    what: str,
    shape: Shape,
    iterations: int,
    changes: Mapping[str, Any],
    overlay: tuple[str, ...] = ("published",),
    asked: str = "",
) -> Workload:
    options = {"configs": ("train", *overlay), "changes": changes}
    return Workload(what, "training.train", shape, iterations, options, asked)


WORKLOADS: dict[str, Workload] = {
    "train_published": _step(_PUBLISHED, _PATCH, 3, {}),
    "train_published_bfloat16": _step(f"{_PUBLISHED}, bfloat16", _PATCH, 3, _HALF),
    "train_published_kept": _step(f"{_PUBLISHED}, nothing worked out again", _PATCH, 3, _KEPT, asked="--only"),
    "train_small": _step(_SMALL, (17, 65, 65), 8, _NARROW),
    "train_small_bfloat16": _step(f"{_SMALL}, bfloat16", (17, 65, 65), 8, _NARROW | _HALF),
    "train_demo": _step(f"{_STEP}, demo network (patches of half resolution)", (16, 32, 32), 12, {}, ("demo",)),
    "window": Workload(_WINDOW, "prediction.window", (33, 257, 257), 3, {"amp": False}),
    "window_bfloat16": Workload(f"{_WINDOW}, bfloat16", "prediction.window", (33, 257, 257), 3, {"amp": True}),
    "inference": Workload(_VOLUME, "prediction.inference", (64, 320, 320), 1, {"amp": False}),
    "inference_bfloat16": Workload(f"{_VOLUME}, bfloat16", "prediction.inference", (64, 320, 320), 1, {"amp": True}),
    "files": Workload(
        "inference from a file of uint16 to maps and instances, one convolution as the network",
        "prediction.files",
        (128, 512, 512),
        1,
        asked="--only",
    ),
    "blocks": Workload(
        "maps of a stored volume, blocks of 64 x 256 x 256, one convolution in the place of the network",
        "prediction.blocks",
        (128, 512, 512),
        1,
        {"block": (64, 256, 256)},
        "--only",
    ),
    "blocks_large": Workload(
        "the same in blocks of 128 x 512 x 512",
        "prediction.blocks",
        (128, 512, 512),
        1,
        {"block": (128, 512, 512)},
        "--only",
    ),
    "pair": Workload("a patch of X and one of Y, drawn, augmented and encoded; mean", "training.pair", _PATCH, 20),
    "loader": Workload(
        "as train_published, fed by train.yaml's worker processes; core-seconds are the trainer's alone",
        "training.loader",
        _PATCH,
        4,
    ),
    "beside": Workload(
        "the demonstration's training with its workers, alone and beside one busy process, by how threads wait",
        "beside.beside",
        (16, 32, 32),
        20,
        {"configs": ("train", "demo", "light_augmentation"), "rounds": 2},
        "--only",
    ),
    "watershed": Workload(
        "bcd_watershed of the maps of touching ellipsoids, bytes, default thresholds",
        "segmentation.watershed",
        (64, 256, 256),
        4,
    ),
    "encoding": Workload(
        "foreground, contour and distance of a label patch of 45 to 50 objects", "segmentation.encoding", _PATCH, 20
    ),
    "allocation": Workload(
        "two tensors of 72 MB added into a new one, its memory fetched anew or reused",
        "machine.allocation",
        _PATCH,
        20,
    ),
    "metrics": Workload(
        "all scores of 10,000 instances against their copies moved by a voxel or two (1.5 GB)",
        "segmentation.metrics",
        (400, 400, 400),
        1,
        asked="--metrics",
    ),
    "tiles": Workload(
        "what a trained network's maps and instances owe to windows and grid", "tiling.tiles", None, 1, asked="--run"
    ),
    "overlap": Workload(
        "time and scores of a trained network by the overlap of its windows", "tiling.overlap", None, 1, asked="--run"
    ),
}
