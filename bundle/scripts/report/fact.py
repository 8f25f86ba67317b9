"""What the page says of a run in words and numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.report.run import RunFolder, public

__all__ = ["commands_in", "commands_of", "facts_of", "numbers_of", "span"]


def facts_of(run: RunFolder) -> list[tuple[str, str]]:
    """Name and value of what is recorded of the newest start, and when the earlier ones were."""
    start = run.last_start
    if not start:
        return []
    machine = start["machine"]
    facts = {
        "started": _time(start["started"]),
        "ended": _time(start["ended"]) if start["ended"] else "not recorded: it goes on still, or was stopped",
        "iterations": f"{start['last_iteration']:,}" if start["ended"] else f"{start['iterations']:,} to be done",
        "of which warm-up": f"{start['warm_up_iterations']:,}",
        "seed": start["seed"],
        "code": _code(start["code"]),
        "device": f"{machine['device']}" + (f", {machine['processes']} processes" * (machine["processes"] > 1)),
        "processor": f"{machine['processor']}, {machine['cores']} cores",
        "memory": f"{machine['memory_gb']} GB",
        "system": machine["system"],
        "folder": str(run.path.resolve()),
    }
    facts |= {f"volume {name}": " · ".join(run.volumes(name)) for name in start["volumes"] if run.volumes(name)}
    facts |= _judged(run.judged)
    facts |= {f"started before ({n})": _time(earlier["started"]) for n, earlier in enumerate(run.starts[:-1], 1)}
    return [(name, public(str(value))) for name, value in facts.items() if value not in ("", None)]


def commands_of(run: RunFolder) -> list[tuple[str, str]]:
    """Commands that repeat the run, each with what it does."""
    start = run.last_start
    if not start:
        return []
    there = f"cd {shlex.quote(start['folder'])}\n"
    commands = []
    if start["command"]:
        commands.append(("As it was started, with the configurations as they are now:", there + start["command"]))
    if run.configuration:
        file = shlex.quote(str((run.path / "configuration.yaml").resolve()))
        command = f"{there}python -m monai.bundle run training --config_file {file}"
        commands.append(("With the configuration below, which the run left beside its checkpoints:", command))
    return [(name, public(command)) for name, command in commands]


def commands_in(script: str) -> list[tuple[str, str]]:
    """The commands of a shell script, each with the comment before it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        blocks = Path(script).read_text(encoding="utf-8").strip().split("\n\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{script}: no commands can be read ({error}).") from error
    there = [line for line in blocks[0].splitlines() if line.startswith("cd ")]
    pairs = [block.partition("\n")[::2] for block in blocks[1:]]
    pairs[:0] = [("In the folder of the bundle, with its environment active:", there[0])] if there else []
    return [(public(name.removeprefix("# ")), public(command)) for name, command in pairs]


def numbers_of(run: RunFolder, scores: Mapping[str, Any], found: int | None) -> list[tuple[str, str]]:
    """The few numbers at the head of the page."""
    start = run.last_start
    last = max((float(steps[-1]) for steps, _ in run.losses.values()), default=None)
    numbers = {
        "iterations": None if last is None else f"{last:,.0f}",
        "training": _lasting(sum(map(_seconds, run.starts))) if start.get("ended") else None,
        "instances in Y": None if found is None else f"{found:,}",
        **{name: f"{scores[key]:.3f}" for name, key in (("AP-50", "ap50"), ("Dice", "dice")) if key in scores},
    }
    return [(name, value) for name, value in numbers.items() if value is not None]


def span(start: str, end: str) -> str:
    """The time between two times, as 2 h 5 min, 3 min or 12 s."""
    return _lasting(_seconds({"started": start, "ended": end}))


def _seconds(start: Mapping[str, Any]) -> float:
    """How long a training ran after a start; 0 where its end is not recorded."""
    if not start.get("ended"):
        return 0.0
    return (datetime.fromisoformat(start["ended"]) - datetime.fromisoformat(start["started"])).total_seconds()


def _lasting(time: float) -> str:
    seconds = round(time)
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min" if seconds >= 3600 else f"{seconds // 60} min"


def _judged(judged: Mapping[str, Any]) -> dict[str, str]:
    """Which weights were chosen without labels, why, and the score of each candidate."""
    if not judged:
        return {}
    scores = {f"judged: {one['name']}": _judgement(one) for one in judged["candidates"]}
    return {"weights chosen without labels": f"{judged['chosen']}: {judged['reason']}", **scores}


def _judgement(one: Mapping[str, Any]) -> str:
    score = one["score"]
    known = f"score {score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})" if score else "no score"
    return "; ".join([known, *one["vetoes"]])


def _code(code: Mapping[str, Any] | None) -> str:
    if code is None:
        return "no git checkout"
    names, more = code["changed"][:6], len(code["changed"]) - 6
    changed = ", ".join([*names, *([f"{more} more"] if more > 0 else [])])
    return f"commit {code['commit']}, {f'changed since: {changed}' if changed else 'nothing changed since'}"


def _time(text: str) -> str:
    return str(datetime.fromisoformat(text))
