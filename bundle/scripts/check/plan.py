"""The plan of a model in a configuration: laid over the base, and compared with what is laid over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from scripts.check.merge import COMMAND_LINE, Merged
from scripts.check.problem import Problem, shown
from scripts.check.source import Source, base_of, shipped
from scripts.check.tree import SEPARATOR, child, is_component, references, walk
from scripts.check.value import UNKNOWN, Values
from scripts.command.bundle import bundle_version
from scripts.errors import InputError
from scripts.plan import FIXED, MAY_DIFFER, WITHOUT_EFFECT, Plan
from scripts.plan.literal import literal

__all__ = ["contradictions", "given_scale", "is_exported", "laid_keys", "merged_with", "used_plan"]

EXPORTED = "scripts.export.ExportedNetwork"


def merged_with(plan: Plan, model: str, sources: Sequence[Source], overrides: Mapping[str, Any]) -> Merged:
    """Merge base, plan, overlays and command line in this order.

    What the base itself has otherwise than the shipped one counts as given, as an overlay's keys do: a user may have
    edited a copy of it, and a workflow made in Python has one merged configuration.

    Args:
        plan: of the model.
        model: its file, for messages.
        sources: as for `Merged`, the base first.
        overrides: of the command line.
    """
    base, *overlays = sources
    own = shipped(base_of(base.content) or "inference").content
    laid = _laid(plan, base.content, own)
    edits: dict[str, Any] = {}
    for key in (key for key in laid if key in own):
        edits.update(_edits(base.content[key], own[key], key))
    return Merged([base, Source(_name(model), laid, {}), base._replace(content=edits), *overlays], overrides)


def contradictions(merged: Merged, plan: Plan, model: str) -> Iterator[Problem]:
    """Compare a configuration with the plan that was merged into it: keys of `FIXED` have one right value, but `scale`.

    Args:
        merged: what `merged_with` returned.
        plan: of the model.
        model: its file, for messages.
    """
    values, wrong = Values(merged.config), set[str]()
    for key in (key for key in ("representation", *FIXED) if key in plan.keys and key != "scale"):
        here = child(merged.config, key)
        if key in wrong or key not in merged.config or (key == "network_def" and is_exported(merged.config)):
            continue
        for inner, found, expected in _differences(key, here, _plain(plan.keys[key]), values):
            text = child(merged.config, inner)
            if any(name.split(SEPARATOR)[0] in wrong for name in references(text)):
                continue  # it follows from a problem that is reported already
            wrong.add(key)
            yield _contradiction(merged, inner, text, found, expected, model)


def given_scale(merged: Merged, plan: Plan, model: str) -> str | None:
    """Return where a scale was given instead of the plan's: a file and line, the command line, or "the configuration".

    An overlay that repeats the plan's scale gives none, since it was made for the volume that was trained on.

    Args:
        merged: what `merged_with` returned.
        plan: of the model.
        model: its file.
    """
    place = merged.place("scale")
    if "scale" not in plan.keys or place == _name(model):
        return None
    if place != COMMAND_LINE and Values(merged.config)["scale"] == _plain(plan.keys["scale"]):
        return None
    return place or "the configuration"


def is_exported(config: Mapping[str, Any]) -> bool:
    """Return whether the network of a configuration is a file of `scripts.export`."""
    return bool(child(config, "network_def::_target_") == EXPORTED)


def laid_keys(plan: Plan, config: Mapping[str, Any]) -> list[str]:
    """Return the keys at the top of a configuration that a plan sets: its own, and those that the base ties to them."""
    return list(_laid(plan, config, shipped(base_of(config) or "inference").content))


def used_plan(config: Mapping[str, Any], plan: Plan | None) -> Plan:
    """Return the plan of what a configuration makes: what it has instead of the model's values is noted as changed.

    The decoder has every option named, so that those that the configuration leaves out change with a volume's voxels,
    and are the same when maps are decoded again. Classes of others are left out.

    Args:
        config: after merging.
        plan: of the model; None where it has none.
    """
    from scripts.watershed.choice import with_decoder  # takes a second

    values, known = Values(config), dict[str, Any]()
    for key in (*FIXED, *MAY_DIFFER):
        value = values.literal(config.get(key, UNKNOWN))
        if _is_unknown(value) and key in MAY_DIFFER and key in config:
            value = _worked_out(config, key)
        if not _is_unknown(value) and _is_plain(key, value):
            known[key] = value
    decoder = _decoder(known.pop("decoder", None))
    if plan is None:
        return with_decoder(Plan(known, bundle_version()), decoder)
    return with_decoder(plan.with_keys({key: known[key] for key in ("scale", *MAY_DIFFER) if key in known}), decoder)


def _worked_out(config: Mapping[str, Any], key: str) -> Any:
    """What a key is after its expressions, as the run evaluates them; `UNKNOWN` where the run itself says why not."""
    from monai.bundle import ConfigParser

    try:
        return literal(ConfigParser(dict(config)), key)
    except Exception:
        return UNKNOWN


def _decoder(definition: Any) -> Any:
    """The decoder of a definition; None where it is none of ours, or the check itself names what is wrong with it."""
    from scripts.watershed.choice import decoder_of

    try:
        return None if definition is None else decoder_of(definition)
    except InputError:
        return None


def _name(model: str) -> str:
    return f"plan of {model}"


def _laid(plan: Plan, base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a plan as they go over a base.

    Where the shipped base ties an argument to a key at its top, such as '@seed_distance', the tie is kept, and that key
    gets the plan's value. Otherwise the key would lose its effect, also on the command line.
    """
    ties = _ties(own)
    keys = {key: value for key, value in plan.keys.items() if key in base}
    helpers: dict[str, Any] = {}
    laid = {key: _tied(_plain(value), ties, helpers) for key, value in keys.items()}
    return {**{key: value for key, value in helpers.items() if key in base}, **laid}


def _ties(base: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Arguments of classes that a base takes from elsewhere: by class and name, the reference or expression."""
    found: dict[tuple[str, str], str] = {}
    for _, value in walk({key: base[key] for key in (*FIXED, *MAY_DIFFER) if key in base}):
        for name, text in value.items() if is_component(value) else ():
            if references(text):
                found[(value["_target_"], name)] = text
    return found


def _tied(value: Any, ties: Mapping[tuple[str, str], str], helpers: MutableMapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_tied(part, ties, helpers) for part in value]
    if not isinstance(value, dict):
        return value
    result = {}
    for name, part in value.items():
        text = ties.get((value.get("_target_", ""), name), "")
        follows = text.startswith("$") or (text and helpers.setdefault(text[1:], part) == part)
        result[name] = text if follows else _tied(part, ties, helpers)
    return result


def _edits(here: Any, there: Any, key: str) -> dict[str, Any]:
    """What a value has otherwise than another, by ids; the whole where parts cannot be named."""
    if here == there:
        return {}
    alike = isinstance(here, dict) and isinstance(there, dict) and here.keys() >= there.keys()
    if not alike or here.get("_target_") != there.get("_target_"):
        return {key: here}
    found: dict[str, Any] = {}
    for name, part in here.items():
        inner = f"{key}{SEPARATOR}{name}"
        found.update(_edits(part, there[name], inner) if name in there else {inner: part})
    return found


def _differences(key: str, here: Any, there: Any, values: Values) -> Iterator[tuple[str, Any, Any]]:
    """Yield ids whose values differ, with both. What is unknown, or left out by one of the two, passes."""
    if is_component(here) and is_component(there) and here["_target_"] == there["_target_"]:
        for name in (name for name in here if name in there and name not in WITHOUT_EFFECT):
            yield from _differences(f"{key}{SEPARATOR}{name}", here[name], there[name], values)
        return
    names, others = _classes(here), _classes(there)
    if names and names == others and isinstance(here, list):
        for number, (one, other) in enumerate(zip(here, there, strict=True)):
            yield from _differences(f"{key}{SEPARATOR}{number}", one, other, values)
    elif names or others:
        yield key, ", ".join(names) or here, ", ".join(others) or there
    elif not _is_unknown(found := values.literal(here)) and not _equal(found, there):
        yield key, found, there


def _classes(value: Any) -> list[str]:
    """Names of the classes that a definition, or a list of them, makes; none of anything else."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(is_component(item) for item in items):
        return []
    return [str(item["_target_"]).rpartition(".")[2] for item in items]


def _contradiction(merged: Merged, key: str, text: Any, found: Any, expected: Any, model: str) -> Problem:
    names = references(text)
    key = names[0] if names and text == f"@{text[1:]}" else key
    words = f"{shown(expected)}, with which {model} was trained"
    advice = "Leave it out, or give the model that was trained with it."
    return Problem(merged.place(key), key, shown(found), words, advice)


def _plain(value: Any) -> Any:
    """A value with lists instead of tuples."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, bool) and isinstance(found, str):
        return found.lower() == str(expected).lower()  # as MONAI's command line reads --key true
    if isinstance(expected, list) and isinstance(found, int | float):
        return all(one == found for one in expected)
    return bool(found == expected)


def _is_unknown(value: Any) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return value is UNKNOWN or any(_is_unknown(part) for part in parts)


def _is_plain(key: str, value: Any) -> bool:
    try:
        Plan({key: value})
    except InputError:
        return False
    return True
