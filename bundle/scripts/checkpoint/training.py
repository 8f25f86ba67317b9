"""Everything that a training needs to resume."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from scripts.checkpoint.random_state import RandomState, reseed
from scripts.checkpoint.settings import check_settings, plain
from scripts.checkpoint.weights import check_fit, check_maps, plan_at, save_atomically
from scripts.command.flag import flag
from scripts.errors import InputError, brief
from scripts.plan import METADATA
from scripts.plan.weights import AVERAGED
from scripts.processes import gathered, of_first
from scripts.trainer import last_iteration

__all__ = ["TrainingCheckpoint", "is_auto", "list_checkpoints"]

logger = logging.getLogger(__name__)


def list_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Return the files that `TrainingCheckpoint` wrote to a folder, the newest last."""
    return sorted(p for p in Path(folder).glob("checkpoint_*.pt") if re.fullmatch(r"checkpoint_\d+\.pt", p.name))


def is_auto(resume: Any) -> bool:
    """Whether `resume` is "auto": resume if there is something to resume from, else start over."""
    return str(resume).lower() == "auto"


class TrainingCheckpoint:
    """Writes everything that a training needs to resume, and resumes from it on request.

    Networks, optimisers, schedules, image pools, loss scaler and random streams of the trainer, and whatever `parts`
    adds, go to `folder`/checkpoint_<iteration>.pt every `interval` iterations and at the end; the last `keep` files
    stay, and with `best` also best.pt. A file that is cut short, empty or another program's is passed over with a
    warning that says why. The iteration says which patches come next (`scripts.dataset.EndlessSampler`).

    Of several processes rank 0 writes the file; the pools and streams of the others are in it, as `other_processes`.
    Another number of processes may go on from it: those that it knows nothing of begin streams of their own, with the
    pools of rank 0.

    Memory: what is written, on the CPU; with several processes rank 0 holds the pools of all for the time being.

    Args:
        folder: where the files go.
        interval: iterations between files.
        keep: files kept.
        resume: True goes on from the newest whole file of `folder`; it is an error if there is none, or if it is that
            of the end. "auto" then starts anew, files that are not whole kept as <name>.damaged; or ends at once.
        parts: further objects with `state_dict` and `load_state_dict`, by name.
        settings: what must be as it was when a training goes on, by name: compared, and differences refused.
        validator: the engine whose metric `best` is; with `best` alone.
        best: name of a metric of which higher is better: after a validation that exceeds all before, the same content
            goes to best.pt. None: no such file. Of several processes rank 0's score decides.
    """

    def __init__(
        self,
        folder: str,
        interval: int = 5000,
        keep: int = 2,
        resume: bool | str = False,
        parts: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        validator: Any = None,
        best: str | None = None,
    ) -> None:
        self.folder, self.interval, self.keep = Path(folder), interval, keep
        self.auto = is_auto(resume)
        self.resume = self.auto or flag(resume, "resume")
        self.parts, self.settings = dict(parts or {}), plain(settings or {})
        self.validator, self.best, self.best_score = validator, best, -math.inf

    def attach(self, engine: Any) -> None:
        """Resume `engine` if asked to, and write from now on."""
        resumed = self.resume and self._load(engine)
        if not resumed and self._files():
            what = "they are kept as .damaged" if self.auto else "they are replaced. --resume goes on instead"
            logger.warning("%s holds checkpoints of an earlier training; %s.", self.folder, what)
            if engine.state.rank == 0:
                engine.add_event_handler(Events.STARTED, lambda _: self._make_room())
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(Events.COMPLETED, self)
        if self.best and self.validator is not None:
            self.validator.add_event_handler(Events.COMPLETED, lambda _: self._keep_best(engine))

    def __call__(self, engine: Any) -> None:
        """Write a checkpoint now.

        Raises:
            InputError: it cannot be written; the earlier ones are whole.
        """
        if self._write(engine, f"checkpoint_{engine.state.iteration:07d}.pt"):
            self._remove(self._files()[: -self.keep])
            self._remove(list(self.folder.glob(".*.checkpoint_*.pt")))  # of writes that were killed

    def _write(self, engine: Any, name: str) -> bool:
        by_rank = gathered({name: part.state_dict() for name, part in _own_parts(engine).items()})
        if engine.state.rank != 0:
            return False
        content: dict[str, Any] = {name: part.state_dict() for name, part in self._all_parts(engine).items()}
        if AVERAGED in content and (plan := plan_at(engine)) is not None:
            content[AVERAGED]._metadata[""][METADATA] = plan.to_text()
        content["other_processes"] = by_rank[1:]
        content["iteration"], content["epoch_length"] = engine.state.iteration, engine.state.epoch_length
        content["map_names"], content["best_score"] = _map_names(engine), self.best_score
        content["stage_end"] = getattr(engine, "stage_end", None)
        content["settings"] = self._settings(engine)
        save_atomically(content, self.folder / name)
        return True

    def _keep_best(self, engine: Any) -> None:
        # Each process has validated, and two GPUs may differ in a bit: all are to write, or none.
        metrics = self.validator.state.metrics
        if self.best not in metrics:
            logger.warning("best_checkpoint: found no score %s, expected one of %s.", self.best, ", ".join(metrics))
        score = of_first(float(metrics.get(self.best, -math.inf)))
        if score > self.best_score:
            self.best_score = score
            self._write(engine, "best.pt")

    def _settings(self, engine: Any) -> dict[str, Any]:
        return {"trainer": type(engine).__name__, **self.settings}

    def _all_parts(self, engine: Any) -> dict[str, Any]:
        parts = {f"network/{k}": getattr(v, "module", v) for k, v in engine.networks.items()}
        parts |= {f"optimizer/{k}": v for k, v in engine.optimizers.items()}
        parts |= {f"schedule/{k}": v for k, v in engine.schedules.items()}
        parts |= {**_own_parts(engine), "loss_scaler": engine.loss_scaler}
        return {**parts, **getattr(engine, "parts", {}), **self.parts}

    def _load(self, engine: Any) -> bool:
        """Set everything to a checkpoint; False where there is none and the training is to start anew."""
        path, content = self._newest()
        if path is None:
            logger.info("%s: found no whole checkpoint, the training starts anew", self.folder)
            return False
        others = content.get("other_processes", [])
        if 0 < engine.state.rank <= len(others):
            content |= others[engine.state.rank - 1]
        self._compare(engine, path, content)
        self._load_parts(engine, path, content)
        if engine.state.rank > len(others):
            reseed(engine.state.rank)
        _tell_of_processes(path, 1 + len(others))
        engine.state.iteration = content["iteration"]
        engine.state.epoch = content["iteration"] // engine.state.epoch_length
        self.best_score = content.get("best_score", self.best_score)
        if engine.state.iteration >= last_iteration(engine):
            self._refuse_complete(engine, path)
        logger.info("resumed from %s at iteration %d", path, engine.state.iteration)
        return True

    def _load_parts(self, engine: Any, path: Path, content: Mapping[str, Any]) -> None:
        further = {**getattr(engine, "parts", {}), **self.parts}
        for name, part in self._all_parts(engine).items():
            if name in further and name not in content:
                logger.warning("%s: an earlier version wrote it, without %s, which starts afresh.", path, name)
                continue
            if name.startswith("network/"):
                check_fit(part, content.get(name), f"{path}, {name}")
            try:
                part.load_state_dict(content[name])
            except Exception as error:
                raise InputError(f"{path}: {name} does not fit this configuration ({brief(error)}).") from error

    def _compare(self, engine: Any, path: Path, content: Mapping[str, Any]) -> None:
        check_maps(content.get("map_names", ()), _map_names(engine), path)
        if content["epoch_length"] != engine.state.epoch_length:
            raise InputError(
                f"{path}: was written with epochs of {content['epoch_length']} iterations, this run has "
                f"{engine.state.epoch_length}. Resume with the configuration that it was started with."
            )
        found, now = dict(content.get("settings", {})), self._settings(engine)
        if (then := content.get("stage_end")) is not None:
            # A stage that is still to end may end elsewhere, as it does where all of a longer training is warm-up.
            moved = content["iteration"] > min(then, engine.stage_end)
            found["warm_up_iterations"], now["warm_up_iterations"] = (then, engine.stage_end) if moved else (0, 0)
        check_settings(found, now, path)

    def _refuse_complete(self, engine: Any, path: Path) -> None:
        if not self.auto:
            raise InputError(
                f"{path}: this training is complete. Raise max_iterations to go on, or start in another output_dir."
            )
        logger.info("%s: this training is complete, nothing is left to do", path)
        engine.complete = True

    def _newest(self) -> tuple[Path | None, dict[str, Any]]:
        for path in reversed(self._files()):
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
                if isinstance(content, dict) and {"iteration", "epoch_length"} <= set(content):
                    return path, content
                reason = "it holds something else"
            except PermissionError as error:
                raise InputError(f"{path} cannot be read: {error}. Give permission, and resume again.") from error
            except Exception as error:
                reason = brief(error)
            logger.warning("%s: skipped, not a whole checkpoint (%s)", path, reason)
        if self.auto:
            return None, {}
        raise InputError(f"{self.folder}: found no whole checkpoint to resume from. Start without --resume.")

    def _make_room(self) -> None:
        for path in self._files() if self.auto else []:
            path.rename(path.with_name(f"{path.name}.damaged"))
        self._remove(self._files())

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
