"""The check as a running command calls it: what was MONAI's command given, and what has it made of it?"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from scripts.check.command import check_config, check_sources
from scripts.check.path import KEYS, expand_paths
from scripts.check.problem import refuse
from scripts.check.source import Source, base_of

__all__ = ["check_run", "read_words"]

logger = logging.getLogger(__name__)
_FLAG = re.compile(r"--|-[a-zA-Z]")


def check_run() -> None:
    """Check the configuration of the MONAI workflow that calls this; stands in `initialize`.

    Files and overrides are those that were typed after `python -m monai.bundle run`. A `ConfigWorkflow` made in Python
    has the merged configuration alone: keys are then named without their file, and volumes are left to `run()`. Nothing
    is checked where the workflow has no such run id: its parts are looked up one by one, as MONAI Label does.

    Raises:
        InputError: there are problems; each is a line.
    """
    if (workflow := _workflow()) is None:
        logger.warning("check_run: called by no MONAI workflow; the configuration is not checked.")
        return
    config, run_id, typed = workflow.parser.config, workflow.run_id, _typed()
    if run_id not in config or (base := base_of(config)) is None:
        return
    if isinstance(config[run_id], str) and (not typed or "monailabel" in sys.modules):
        return  # "run" as another name of "training", which is what MONAI asks for where nothing is to be run
    if typed.get("config_file"):
        overrides = {name: value for name, value in typed.items() if name not in _arguments_of(workflow)}
        found = check_config(typed["config_file"], overrides, run_id, typed.get("tracking"))
    else:
        content = {name: value for name, value in config.items() if name != "_meta_"}
        found = check_sources([Source("", content, {})], {}, base, run_id, volumes=False)
    refuse(found.problems)
    _set(workflow.parser, {**_expanded(workflow.parser), **found.settings})


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Return what MONAI's command line makes of its words: `RUN_ID --key value --key=value --switch`."""
    from fire.parser import DefaultParseValue

    given: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not _FLAG.match(word):
            given.setdefault("run_id", word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = rest.pop(0) if rest and not _FLAG.match(rest[0]) else "True"
        given[name.replace("-", "_")] = DefaultParseValue(value)
    return given


def _typed() -> dict[str, Any]:
    """What this process was started with, a file of arguments read; nothing where it is not MONAI's command `run`."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if getattr(spec, "name", "") != "monai.bundle.__main__" or sys.argv[1:2] != ["run"]:
        return {}
    from monai.bundle import ConfigParser

    given = read_words(sys.argv[2:])
    return {**(ConfigParser.load_config_file(given["args_file"]) if given.get("args_file") else {}), **given}


def _arguments_of(workflow: Any) -> set[str]:
    """Names that are no keys: arguments of the workflow and of MONAI's command."""
    code = type(workflow).__init__.__code__
    return {"args_file", "workflow_name", *code.co_varnames[1 : code.co_argcount]}


def _workflow() -> Any:
    """The workflow that is being initialised: MONAI gives what it calls no way to it, so it is found by its class."""
    from monai.bundle import ConfigWorkflow  # imported long since where there is a workflow; not by the command line

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if isinstance(own := frame.f_locals.get("self"), ConfigWorkflow):
            return own
        frame = frame.f_back
    return None


def _expanded(parser: Any) -> dict[str, Any]:
    """The names of files and folders that the check expanded, in full."""
    full = {key: parser.config[key] for key in KEYS if key in parser.config}
    expand_paths(full)
    return {key: value for key, value in full.items() if value != parser.config[key]}


def _set(parser: Any, values: Mapping[str, Any]) -> None:
    """Give a parser that is at work other values for keys at its top, of which nothing was evaluated yet."""
    from monai.bundle import ConfigParser

    if not values:
        return
    parser.config.update(values)
    fresh = ConfigParser({key: parser.config[key] for key in values})
    fresh.parse()
    resolver = parser.ref_resolver
    for kept in (resolver.items, resolver.resolved_content):
        for name in [name for name in kept if name.split("::")[0] in values]:
            del kept[name]
    resolver.items.update({name: item for name, item in fresh.ref_resolver.items.items() if name})
