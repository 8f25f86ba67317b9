"""Everything that a training needs to go on."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events

from scripts.checkpoint.random_state import RandomState, reseed
from scripts.checkpoint.weights import brief, check_fit, check_maps, save_atomically
from scripts.errors import InputError
from scripts.flag import flag
from scripts.processes import gathered

__all__ = ["TrainingCheckpoint", "list_checkpoints"]

logger = logging.getLogger(__name__)


def list_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Return the files that `TrainingCheckpoint` wrote to a folder, the newest last."""
    return sorted(p for p in Path(folder).glob("checkpoint_*.pt") if re.fullmatch(r"checkpoint_\d+\.pt", p.name))


class TrainingCheckpoint:
    """Writes, and on request resumes from, everything that a training needs to go on.

    Networks, optimisers, schedules, image pools, loss scaler and random streams of the trainer, and whatever `parts`
    adds, go to `folder`/checkpoint_<iteration>.pt every `interval` iterations and at the end; the last `keep` files
    stay. A file that cannot be read (a machine that died while writing one of another tool, say) is passed over with a
    warning.

    Of several processes rank 0 writes the file; the pools and streams of the others are in it, as `other_processes`.
    Another number of processes may go on from it: those that it knows nothing of begin streams of their own, with the
    pools of rank 0.

    Memory: what is written, on the CPU; with several processes rank 0 holds the pools of all for the time being.

    Args:
        folder: where the files go.
        interval: iterations between files.
        keep: files kept.
        resume: True goes on from the newest whole file of `folder`; it is an error if there is none.
        parts: further objects with `state_dict` and `load_state_dict`, by name.
    """

    def __init__(
        self,
        folder: str,
        interval: int = 5000,
        keep: int = 2,
        resume: bool | str = False,
        parts: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.interval, self.keep, self.resume = Path(folder), interval, keep, flag(resume, "resume")
        self.parts = dict(parts or {})

    def attach(self, engine: Any) -> None:
        """Resume `engine` if asked to, and write from now on."""
        if self.resume:
            self._load(engine)
        elif self._files():
            logger.warning(
                "%s holds checkpoints of an earlier training; they are replaced. --resume goes on instead.", self.folder
            )
            engine.add_event_handler(Events.STARTED, lambda _: self._remove(self._files()))
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        """Write a checkpoint now."""
        by_rank = gathered({name: part.state_dict() for name, part in _own_parts(engine).items()})
        if engine.state.rank != 0:
            return
        content: dict[str, Any] = {name: part.state_dict() for name, part in self._all_parts(engine).items()}
        content["other_processes"] = by_rank[1:]
        content["iteration"], content["epoch_length"] = engine.state.iteration, engine.state.epoch_length
        content["map_names"] = _map_names(engine)
        save_atomically(content, self.folder / f"checkpoint_{engine.state.iteration:07d}.pt")
        self._remove(self._files()[: -self.keep])

    def _all_parts(self, engine: Any) -> dict[str, Any]:
        parts = {f"network/{k}": getattr(v, "module", v) for k, v in engine.networks.items()}
        parts |= {f"optimizer/{k}": v for k, v in engine.optimizers.items()}
        parts |= {f"schedule/{k}": v for k, v in engine.schedules.items()}
        return {**parts, **_own_parts(engine), "loss_scaler": engine.loss_scaler, **self.parts}

    def _load(self, engine: Any) -> None:
        path, content = self._newest()
        others = content.get("other_processes", [])
        if 0 < engine.state.rank <= len(others):
            content |= others[engine.state.rank - 1]
        check_maps(content.get("map_names", ()), _map_names(engine), path)
        if content["epoch_length"] != engine.state.epoch_length:
            raise InputError(
                f"{path}: was written with epochs of {content['epoch_length']} iterations, this run has "
                f"{engine.state.epoch_length}. Resume with the configuration that it was started with."
            )
        for name, part in self._all_parts(engine).items():
            if name.startswith("network/"):
                check_fit(part, content.get(name), f"{path}, {name}")
            try:
                part.load_state_dict(content[name])
            except Exception as error:
                raise InputError(f"{path}: {name} does not fit this configuration ({brief(error)}).") from error
        if engine.state.rank > len(others):
            reseed(engine.state.rank)
        _tell_of_processes(path, 1 + len(others))
        engine.state.iteration = content["iteration"]
        engine.state.epoch = content["iteration"] // engine.state.epoch_length
        if engine.state.epoch >= engine.state.max_epochs:
            raise InputError(
                f"{path}: this training is complete. Raise max_iterations to go on, or start in another output_dir."
            )
        logger.info("resumed from %s at iteration %d", path, engine.state.iteration)

    def _newest(self) -> tuple[Path, dict[str, Any]]:
        for path in reversed(self._files()):
            try:
                return path, torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                logger.warning("%s: skipped, not a whole checkpoint (%s)", path, brief(error))
        raise InputError(f"{self.folder}: found no whole checkpoint to resume from. Start without --resume.")

    def _files(self) -> list[Path]:
        return list_checkpoints(self.folder)

    @staticmethod
    def _remove(paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def _own_parts(engine: Any) -> dict[str, Any]:
    """What each process has for itself."""
    return {**{f"pool/{k}": v for k, v in engine.pools.items()}, "random": RandomState()}


def _tell_of_processes(path: Path, found: int) -> None:
    if (now := idist.get_world_size()) != found and idist.get_rank() == 0:
        logger.warning(
            "%s: number of processes then %d, now %d; so an iteration now has %d times batch_size, and random streams "
            "are not what they would have been without the break.",
            path,
            found,
            now,
            now,
        )


def _map_names(engine: Any) -> list[str]:
    """The maps that are learned, as far as the trainer says so."""
    return list(getattr(getattr(engine, "representation", None), "names", ()))
