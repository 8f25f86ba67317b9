"""The weights of one network: read with checks, written whole."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from ignite.engine import Engine, Events
from scripts.errors import InputError
from scripts.networks import bare
from scripts.plan import METADATA, Plan
from scripts.plan.weights import noted, read_weights
from scripts.trainer import last_iteration
from scripts.volume_io.replacement import remove_of_killed, replacing
from torch import nn

__all__ = [
    "WeightsLoader",
    "WeightsSaver",
    "check_fit",
    "check_maps",
    "load_weights",
    "noted_state",
    "plan_at",
    "save_atomically",
    "started_from",
]

logger = logging.getLogger(__name__)


def save_atomically(content: Any, path: str | os.PathLike) -> None:
    """`torch.save` a file that is replaced at once and on the disk when this returns.

    Raises:
        InputError: it cannot be written (no space left, no permission, …); what was there before is untouched.
    """
    path = Path(path)
    remove_of_killed(path)
    try:
        with replacing(path, durable=True) as temporary, open(temporary, "wb") as file:
            _save(content, file)
    except InputError as error:
        advice = "Earlier files are whole: give the same command again, a training with --resume true."
        raise InputError(f"{error} {advice}") from error


class _Watched:
    """A file for `torch.save` that keeps the error of a write, for which torch raises another one."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.flush = file, file.flush
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write, or keep the error and raise it."""
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise


def _save(content: Any, file: BinaryIO) -> None:
    """`torch.save`, with the file system's own error where it cannot write."""
    watched = _Watched(file)
    try:
        torch.save(content, cast(BinaryIO, watched))
    except RuntimeError:
        if watched.error is None:
            raise
        raise watched.error from None


def load_weights(network: nn.Module, path: str | os.PathLike, map_names: Sequence[str] = ()) -> None:
    """Load a state dict into `network`.

    Args:
        network: what to load it into; one that reads files of its own, by `load_export`, is given the path.
        path: file of the state dict.
        map_names: the maps that the network is to predict; compared with those that `WeightsSaver` noted, if it did.

    Raises:
        InputError: no such file, not a state dict, one of another network, the message names what differs first; or
            one that was trained for other maps.
    """
    if (load_export := getattr(network, "load_export", None)) is not None:
        load_export(path, map_names)
        return
    state = read_weights(path)
    check_maps(noted(state).get("map_names", ()), map_names, path)
    check_fit(network, state, path)
    network.load_state_dict(state)


def noted_state(network: nn.Module, map_names: Sequence[str] = (), plan: Plan | None = None) -> dict[str, Any]:
    """Return a network's state dict, with notes in its metadata, not among its keys.

    Args:
        network: whose weights.
        map_names: the maps that it predicts. Version 0.4 compares them, and they are known without the plan's classes.
        plan: how the network sees a volume.
    """
    state: Any = network.state_dict()
    if map_names:
        state._metadata[""]["map_names"] = list(map_names)
    if plan is not None:
        state._metadata[""][METADATA] = plan.to_text()
    return state


def started_from(network: nn.Module, path: str | os.PathLike | None, map_names: Sequence[str] = ()) -> nn.Module:
    """Return the network as it is, or with the weights of a file, with the errors of `load_weights`.

    Args:
        network: what to train.
        path: weights of an earlier training; None for the network's own first ones.
        map_names: as for `load_weights`.
    """
    if path is not None:
        load_weights(network, path, map_names)
    return network


class WeightsLoader:
    """Loads the weights of a network when an engine starts, with the errors of `load_weights`.

    Args:
        path: file of a state dict.
        network: what to load it into.
        map_names: as for `load_weights`.
    """

    def __init__(self, path: str, network: nn.Module, map_names: Sequence[str] = ()) -> None:
        self.path, self.network, self.map_names = path, network, list(map_names)

    def attach(self, engine: Engine) -> None:
        """Load at the start of every run of `engine`."""
        engine.add_event_handler(Events.STARTED, lambda _: load_weights(self.network, self.path, self.map_names))


class WeightsSaver:
    """Writes the plain state dict of one network, whole or not at all, on rank 0; in its metadata the trainer's plan.

    A file that was there before is kept as <name>_previous<extension>, once for a training. A training that is found
    complete writes the weights once more: it may have been killed after its last checkpoint and before that file.

    Args:
        path: file to write, usually models/model.pt: what inference, MONAI Label and the zoo load.
        network: whose weights.
        event: name of the engine's event, "completed" or a custom one such as "warm_up_completed".
        interval: also every so many iterations, 0 for not.
        map_names: the maps that the network predicts, noted in the state dict's metadata (where torch keeps versions of
            modules), so that its keys stay those of the network; by default the maps of the trainer.
    """

    def __init__(
        self,
        path: str,
        network: nn.Module,
        event: str = "completed",
        interval: int = 0,
        map_names: Sequence[str] = (),
    ) -> None:
        self.path, self.network, self.event, self.interval = path, network, event, interval
        self.map_names = list(map_names)
        self.wrote = False

    def attach(self, engine: Engine) -> None:
        """Write on the event, and every `interval` iterations."""
        self.wrote = engine.state.iteration > 0  # resumed: what is there is its own
        self.map_names = self.map_names or list(getattr(getattr(engine, "representation", None), "names", ()))
        known = {event.value: event for event in Events}
        engine.add_event_handler(known.get(self.event, self.event), self)
        if self.interval:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)
        if self.event == Events.COMPLETED.value and getattr(engine, "complete", False):
            self(engine)

    def __call__(self, engine: Engine) -> None:
        """Write the weights now."""
        if engine.state.rank == 0:
            self._keep_previous()
            save_atomically(noted_state(bare(self.network), self.map_names, plan_at(engine)), self.path)

    def _keep_previous(self) -> None:
        path = Path(self.path)
        if not self.wrote and path.is_file():
            kept = path.with_name(f"{path.stem}_previous{path.suffix}")
            os.replace(path, kept)
            logger.warning("%s: the weights that were there are kept as %s.", path, kept.name)
        self.wrote = True


def plan_at(engine: Any) -> Plan | None:
    """Return the plan of a trainer with how far it is; None where it has none."""
    plan: Plan | None = getattr(engine, "plan", None)
    if plan is None:
        return None
    facts = {
        "method": type(engine).__name__,
        "stage": getattr(engine, "stage_name", ""),
        "iterations": engine.state.iteration,
        "planned_iterations": last_iteration(engine),
        "warm_up_iterations": getattr(engine, "warm_up_iterations", 0),
    }
    return replace(plan, trained_on={**plan.trained_on, **facts})


def check_fit(network: nn.Module, state: Any, source: str | os.PathLike) -> None:
    """Raise an InputError when a state dict, read from `source`, has not the network's names and shapes."""
    own = network.state_dict()
    found = {k: tuple(v.shape) for k, v in state.items() if torch.is_tensor(v)} if isinstance(state, dict) else {}
    wrong = [name for name, value in own.items() if found.get(name) != tuple(value.shape)]
    wrong += [name for name in found if name not in own]
    if wrong:
        name = wrong[0]
        expected = tuple(own[name].shape) if name in own else "nothing"
        shapes = f"{found.get(name, 'nothing')} in the file, {expected} in the network"
        raise InputError(
            f"{source}: does not fit the network: {len(wrong)} parameters differ, first {name!r}: {shapes}. "
            "Use the network_def and the overlays (target_….yaml, tile_independent.yaml) that it was trained with."
        )


def check_maps(found: Sequence[str], expected: Sequence[str], source: str | os.PathLike) -> None:
    """Raise an InputError when weights, read from `source`, are for other maps; unknown ones pass."""
    if found and expected and list(found) != list(expected):
        raise InputError(
            f"{source}: was trained for the maps {', '.join(found)}, expected {', '.join(expected)}. "
            "Use the target_….yaml overlay that it was trained with, or none if it was trained with none."
        )
