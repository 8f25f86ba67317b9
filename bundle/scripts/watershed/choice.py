"""Which decoder makes instances of maps, with which options, and where they are from: flags, plan or defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from scripts.command.argument import unknown_flag
from scripts.errors import InputError
from scripts.plan import Plan
from scripts.watershed.affinity import AffinityWatershed
from scripts.watershed.decode import BCDWatershed, BCWatershed

__all__ = ["TARGETS", "Choice", "choose", "decoder_of", "definition_of", "with_decoder"]

TARGETS: dict[str, type[BCDWatershed]] = {"bcd": BCDWatershed, "bc": BCWatershed, "affinity": AffinityWatershed}
"""Decoders by the name that command lines have for them."""
_ROOM = "scripts.watershed"
_NOT_STORED = ("maps", "seeds", "return_seeds", "on_stage")
_FLAGS, _DEFAULTS = "from the command line", "by default"


class Choice(NamedTuple):
    """A decoder, and where its options are from.

    Attributes:
        decoder: with every option.
        origins: of each option, in words.
    """

    decoder: BCDWatershed
    origins: Mapping[str, str]

    def __str__(self) -> str:
        """All options in a line, grouped by where they are from."""
        shown = {name: _shown(value) for name, value in self.decoder.options.items()}
        groups: dict[str, list[str]] = {}
        for name, origin in self.origins.items():
            groups.setdefault(origin, []).append(f"{name} {shown[name]}")
        listed = "; ".join(f"{', '.join(options)} {origin}" for origin, options in groups.items())
        return f"{type(self.decoder).__name__}: {listed}"


def choose(
    pred: str, plan: Plan | None, target: str | None, flags: Mapping[str, Any], known: Sequence[str] = ()
) -> Choice:
    """Choose the decoder of a file of maps: what flags leave open is as its plan says, or else as documented.

    Args:
        pred: the file, for messages.
        plan: of the file; None where it has none.
        target: a key of `TARGETS`, "bcd" where neither this nor a plan says what the maps are.
        flags: options that were typed.
        known: the command's other flags, for messages.

    Raises:
        InputError: an unknown target or option, a value of another type, or a target other than the plan's.
    """
    if target is not None and target not in TARGETS:
        raise InputError(f"found --target {target}, expected one of {', '.join(TARGETS)}.")
    definition = None if plan is None else plan.keys.get("decoder")
    recorded = None if definition is None else decoder_of(definition, f"{pred}: its plan")
    kind = TARGETS[target or "bcd"] if recorded is None else type(recorded)
    if target is not None and kind is not TARGETS[target]:
        made_for = next(name for name, one in TARGETS.items() if one is kind)
        raise InputError(
            f"found --target {target}, but {pred} holds maps for {made_for}, as its plan says. Leave it out."
        )
    defaults = _defaults(kind)
    if unknown := sorted(set(flags) - set(defaults)):
        raise unknown_flag(unknown[0], [*known, *sorted(defaults)])
    _check_types(flags, defaults, "--")
    planned = {} if recorded is None else recorded.options
    origins = {name: _DEFAULTS for name in defaults}
    origins |= dict.fromkeys(planned, f"from the plan of {pred}") | dict.fromkeys(flags, _FLAGS)
    return Choice(kind(**{**defaults, **planned, **flags}), origins)


def decoder_of(definition: Mapping[str, Any], source: str = "decoder") -> BCDWatershed:
    """Return the decoder that a plan defines.

    Args:
        definition: `_target_`, a class of this room, and its options.
        source: where it is from, for messages.

    Raises:
        InputError: another class, an unknown option, or a value of another type.
    """
    target, kinds = definition.get("_target_"), {f"{_ROOM}.{kind.__name__}": kind for kind in TARGETS.values()}
    if target not in kinds:
        raise InputError(f"{source}: found the decoder {target}, expected one of {', '.join(kinds)}.")
    options = {name: value for name, value in definition.items() if name != "_target_"}
    try:
        decoder = kinds[target](**options)
        _check_types(options, _defaults(kinds[target]))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return decoder


def definition_of(decoder: Any) -> dict[str, Any] | None:
    """Return what `decoder_of` makes the same decoder of, every option named; None for decoders of other rooms."""
    kind = type(decoder)
    if not kind.__module__.startswith(_ROOM) or kind.__name__ not in [one.__name__ for one in TARGETS.values()]:
        return None
    options = {**_defaults(kind), **{name: value for name, value in decoder.options.items() if name not in _NOT_STORED}}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {"_target_": f"{_ROOM}.{kind.__name__}", **plain}


def with_decoder(plan: Plan, decoder: Any) -> Plan:
    """Return the plan of instances: the model's or the maps' plan, with the decoder that was used.

    Options that a definition leaves out count as their defaults. A decoder of another package cannot be recorded: the
    plan then has none.
    """
    definition = definition_of(decoder)
    if definition is None:
        return replace(plan, keys={name: value for name, value in plan.keys.items() if name != "decoder"})
    noted = plan.with_keys({"decoder": definition})
    model = noted.changed.get("decoder")
    if model is not None and _completed(model) == definition:
        noted = replace(noted, changed={name: value for name, value in noted.changed.items() if name != "decoder"})
    return noted


def _completed(definition: Mapping[str, Any]) -> Any:
    try:
        return definition_of(decoder_of(definition))
    except InputError:  # of an earlier version, say
        return definition


def _defaults(kind: type[BCDWatershed]) -> dict[str, Any]:
    """Options of a decoder that are plain data, with their defaults."""
    parameters = inspect.signature(kind.decode).parameters
    return {name: entry.default for name, entry in parameters.items() if name not in _NOT_STORED}


def _check_types(options: Mapping[str, Any], defaults: Mapping[str, Any], dashes: str = "") -> None:
    for name, value in options.items():
        default = defaults.get(name)
        kind, words = (str, "a text") if isinstance(default, str) else ((int, float), "a number")
        parts, words = (value, "three numbers") if isinstance(default, tuple) else ([value], words)
        fits = isinstance(parts, list | tuple) and (not isinstance(default, tuple) or len(parts) == 3)
        if name in defaults and not (fits and all(isinstance(one, kind) and one is not True for one in parts)):
            raise InputError(f"{dashes}{name}: found {value!r}, expected {words}.")


def _shown(value: Any) -> str:
    return ",".join(f"{one:g}" for one in value) if isinstance(value, list | tuple) else str(value)
