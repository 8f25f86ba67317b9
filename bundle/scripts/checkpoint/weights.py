"""The weights of one network: read with checks, written whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from scripts.errors import InputError
from scripts.networks import bare

__all__ = ["WeightsLoader", "WeightsSaver", "brief", "check_fit", "load_weights", "save_atomically"]


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
        message = f"{path}: found no readable weights ({brief(error)}). Expected a file that training wrote."
        raise InputError(message) from error
    check_fit(network, state, path)
    network.load_state_dict(state)


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
            save_atomically(bare(self.network).state_dict(), self.path)


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
            "Use the network_def (and the overlays) that it was trained with."
        )


def brief(error: Exception) -> str:
    """Return the first sentence of a message: torch goes on for a paragraph."""
    return str(error).partition(". ")[0].partition("\n")[0]
