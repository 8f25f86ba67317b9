"""Workloads of training: steps on a batch that is there, the drawing of patches, and both together."""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psutil
import torch
from ignite.engine import Events
from monai.data import DataLoader
from scripts.dataset import PatchPairs
from scripts.trainer import CySGANTrainer

from machine import PRECISION
from material import Shape, ellipsoids, parsed, volume
from stopwatch import Result, Stopwatch, operations

_SETTINGS = (
    *("networks", "optimizers", "schedules", "representation", "loss_weights", "semi_supervised", "pool_size", "amp"),
    *("correlation_margin", "translation_noise", "max_gradient_norm"),
    *("share_y", "discriminator_augmentation"),
)


def train(shape: Shape, iterations: int, configs: Sequence[str], changes: Mapping[str, Any]) -> Result:
    """Training iterations on one batch; the operations are counted in one more."""
    parser = parsed(configs, {"warm_up_iterations": 0, **changes})
    settings, batch = _settings(parser), _batch(parser, shape)
    settings["device"] = parser.get_parsed_content("device")
    trainer = CySGANTrainer(max_epochs=1, data_loader=[batch] * iterations, **settings)
    watch = Stopwatch()
    trainer.add_event_handler(Events.ITERATION_STARTED, watch.start)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, watch.stop)
    trainer.run()
    result = watch.result(terms=sum(weight > 0 for weight in trainer.loss_weights.values()))
    flops = operations(CySGANTrainer(max_epochs=1, data_loader=[batch], **settings).run)
    return result | {"flops": flops, "precision": PRECISION[settings["amp"]]}


def pair(shape: Shape, iterations: int) -> Result:
    """Draw pairs in this process."""
    patches = _patches(parsed(["train", "published"], {"patch_size": list(shape)}), iterations)
    watch = Stopwatch()
    watch.time(lambda: patches[0], iterations)
    # Augmentation is drawn: a median would miss the costlier patches.
    return watch.result(average=statistics.fmean)


def loader(shape: Shape, iterations: int, configs: Sequence[str] = ("train", "published")) -> Result:
    """Training iterations fed by worker processes; a lap is the wait for a batch and the step on it."""
    parser = parsed(configs, {"patch_size": list(shape), "warm_up_iterations": 0})
    size, workers = parser.get_parsed_content("batch_size"), parser.get_parsed_content("num_workers")
    patches = _patches(parser, iterations * size)
    batches = DataLoader(patches, batch_size=size, num_workers=workers)
    trainer = CySGANTrainer(device="cpu", max_epochs=1, data_loader=batches, **_settings(parser))
    waits, watch = Stopwatch(), Stopwatch()
    memory: list[float] = []
    for started in (waits.start, watch.start):
        trainer.add_event_handler(Events.GET_BATCH_STARTED, started)
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, waits.stop)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, watch.stop)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda _: memory.extend(_worker_megabytes()))
    trainer.run()
    share = _seconds(waits.laps[1:]) / _seconds(watch.laps[1:]) if iterations > 1 else 0.0
    result = watch.result(waits_percent=100 * share, workers=workers)
    return result | ({"worker_memory_mb": max(memory)} if memory else {})


def _settings(parser: Any) -> dict[str, Any]:
    return {name: parser.get_parsed_content(name) for name in _SETTINGS}


def _batch(parser: Any, shape: Shape) -> dict[str, torch.Tensor]:
    size, representation = parser.get_parsed_content("batch_size"), parser.get_parsed_content("representation")
    batch = {name: torch.rand(size, 1, *shape) * 2 - 1 for name in ("image_x", "image_y", "recon_x", "recon_y")}
    labels = [ellipsoids(shape, (12, 24, 24), seed) for seed in range(size)]
    batch["target_x"] = torch.stack([torch.from_numpy(representation.encode(label)) for label in labels])
    return batch


def _patches(parser: Any, length: int) -> PatchPairs:
    part = parser.get_parsed_content
    sampling = {name: part(name) for name in ("sample_size", "min_foreground", "foreground_share")}
    sampling["augmentation"] = part("random_transforms")
    x, y = volume(0), volume(1)
    transform = part("train#patches#transform")
    return PatchPairs([x], [{"image": y["image"]}], part("patch_size"), length, transform, **sampling)


def _worker_megabytes() -> list[float]:
    """Memory of each worker; pages that it shares with others count in part where the system tells (Linux)."""
    found = []
    for worker in multiprocessing.active_children():
        memory = psutil.Process(worker.pid).memory_full_info()
        found.append(getattr(memory, "pss", memory.rss) / 1e6)
    return found


def _seconds(laps: Iterable[tuple[float, float]]) -> float:
    return sum(seconds for seconds, _ in laps)
