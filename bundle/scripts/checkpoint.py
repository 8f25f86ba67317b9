"""What is written during training: everything needed to go on, and the weights that inference wants."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from scripts.errors import InputError

__all__ = [
    "RandomState",
    "TrainingCheckpoint",
    "WeightsLoader",
    "WeightsSaver",
    "list_checkpoints",
    "load_weights",
    "save_atomically",
]

logger = logging.getLogger(__name__)


def save_atomically(content: Any, path: str | os.PathLike) -> None:
    """`torch.save` under a temporary name in the same folder, then rename: `path` is old or new, never half."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_weights(network: nn.Module, path: str | os.PathLike) -> None:
    """Load a state dict into `network`.

    Raises:
        InputError: no such file, not a state dict, or one of another network; the message names what differs first.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file. Expected the weights of a trained network, such as models/model.pt."
        ) from None
    except Exception as error:
        message = f"{path}: found no readable weights ({_brief(error)}). Expected a file that training wrote."
        raise InputError(message) from error
    _check_fit(network, state, path)
    network.load_state_dict(state)


def list_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Return the files that `TrainingCheckpoint` wrote to a folder, the newest last."""
    return sorted(p for p in Path(folder).glob("checkpoint_*.pt") if re.fullmatch(r"checkpoint_\d+\.pt", p.name))


class WeightsLoader:
    """Loads the weights of a network when an engine starts, with the errors of `load_weights`.

    Args:
        path: file of a state dict.
        network: what to load it into.
    """

    def __init__(self, path: str, network: nn.Module) -> None:
        self.path, self.network = path, network

    def attach(self, engine: Engine) -> None:
        """Load at the start of every run of `engine`."""
        engine.add_event_handler(Events.STARTED, lambda _: load_weights(self.network, self.path))


class WeightsSaver:
    """Writes the plain state dict of one network, whole or not at all, on rank 0.

    Args:
        path: file to write, usually models/model.pt: what inference, MONAI Label and the zoo load.
        network: whose weights.
        event: name of the engine's event, "completed" or a custom one such as "warm_up_completed".
        interval: also every so many iterations, 0 for not.
    """

    def __init__(self, path: str, network: nn.Module, event: str = "completed", interval: int = 0) -> None:
        self.path, self.network, self.event, self.interval = path, network, event, interval

    def attach(self, engine: Engine) -> None:
        """Write on the event, and every `interval` iterations."""
        known = {event.value: event for event in Events}
        engine.add_event_handler(known.get(self.event, self.event), self)
        if self.interval:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Write the weights now."""
        if engine.state.rank == 0:
            save_atomically(getattr(self.network, "module", self.network).state_dict(), self.path)


def _check_fit(network: nn.Module, state: Any, source: str | os.PathLike) -> None:
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
            "Use the network_def (and the overlays) that it was trained with."
        )


class RandomState:
    """The random streams of this process (python, numpy, torch, CUDA) as one part of a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Return the streams as tensors and plain containers."""
        state: Any = np.random.get_state()  # numpy annotates both of its forms, this is the tuple
        _, keys, position, has_gauss, cached = state
        return {
            "python": list(random.getstate()[1]),
            "numpy": [torch.as_tensor(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the streams; CUDA's only where the number of devices is the same."""
        random.setstate((3, tuple(state["python"]), None))
        keys, *rest = state["numpy"]
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state["torch"])
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])


class TrainingCheckpoint:
    """Writes, and on request resumes from, everything that a training needs to go on.

    Networks, optimisers, schedules, image pools, loss scaler and random streams of the trainer, and whatever `parts`
    adds, go to `folder`/checkpoint_<iteration>.pt every `interval` iterations and at the end; the last `keep` files
    stay. A file that cannot be read (a machine that died while writing one of another tool, say) is passed over with a
    warning.

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
        resume: bool = False,
        parts: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.interval, self.keep, self.resume = Path(folder), interval, keep, resume
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
        if engine.state.rank != 0:
            return
        content: dict[str, Any] = {name: part.state_dict() for name, part in self._all_parts(engine).items()}
        content["iteration"], content["epoch_length"] = engine.state.iteration, engine.state.epoch_length
        save_atomically(content, self.folder / f"checkpoint_{engine.state.iteration:07d}.pt")
        self._remove(self._files()[: -self.keep])

    def _all_parts(self, engine: Any) -> dict[str, Any]:
        parts = {f"network/{k}": getattr(v, "module", v) for k, v in engine.networks.items()}
        parts |= {f"optimizer/{k}": v for k, v in engine.optimizers.items()}
        parts |= {f"schedule/{k}": v for k, v in engine.schedules.items()}
        parts |= {f"pool/{k}": v for k, v in engine.pools.items()}
        return {**parts, "loss_scaler": engine.loss_scaler, "random": RandomState(), **self.parts}

    def _load(self, engine: Any) -> None:
        path, content = self._newest()
        if content["epoch_length"] != engine.state.epoch_length:
            raise InputError(
                f"{path}: was written with epochs of {content['epoch_length']} iterations, this run has "
                f"{engine.state.epoch_length}. Resume with the configuration that it was started with."
            )
        for name, part in self._all_parts(engine).items():
            if name.startswith("network/"):
                _check_fit(part, content.get(name), f"{path}, {name}")
            try:
                part.load_state_dict(content[name])
            except Exception as error:
                raise InputError(f"{path}: {name} does not fit this configuration ({_brief(error)}).") from error
        if engine.state.rank:
            _reseed(engine.state.rank)
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
                logger.warning("%s: skipped, not a whole checkpoint (%s)", path, _brief(error))
        raise InputError(f"{self.folder}: found no whole checkpoint to resume from. Start without --resume.")

    def _files(self) -> list[Path]:
        return list_checkpoints(self.folder)

    @staticmethod
    def _remove(paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def _brief(error: Exception) -> str:
    """The first sentence: torch goes on for a paragraph."""
    return str(error).partition(". ")[0].partition("\n")[0]


def _reseed(rank: int) -> None:
    """Give another process streams of its own: the file holds those of rank 0, and both would draw the same patches."""
    seed = int(torch.randint(2**31, ())) + rank
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
