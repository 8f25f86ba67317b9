"""The check as a running command calls it: which files and overrides was MONAI given?"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from scripts.check.command import check_config, check_merged
from scripts.check.merge import Merged
from scripts.check.path import KEYS, expand_paths
from scripts.check.problem import refuse
from scripts.check.source import Source, base_of

__all__ = ["check_run"]

logger = logging.getLogger(__name__)


def check_run() -> None:
    """Check the configuration of the MONAI workflow that calls this; stands in `initialize`.

    MONAI merges files and overrides before anything of the bundle runs, and gives expressions no way to the result. So
    the callers are looked at: `create_workflow`, behind `python -m monai.bundle run`, has the files and the overrides;
    a `ConfigWorkflow` made in Python has the merged configuration, and keys are then told without their file. Nothing
    is checked where the workflow has no such run id: its parts are looked up one by one, as MONAI Label does.

    Raises:
        InputError: there are problems; each is a line.
    """
    workflow, call = _callers()
    if workflow is None:
        logger.warning("check_run: called by no MONAI workflow; the configuration is not checked.")
        return
    config, run_id = workflow.parser.config, workflow.run_id
    if run_id not in config or (base := base_of(config)) is None:
        return
    if isinstance(config[run_id], str) and (call is None or "monailabel" in sys.modules):
        return  # "run" as another name of "training", which is what MONAI asks for where nothing is to be run
    if call is not None and call["config_file"] is not None:
        given = {**call["_args"], **call["kwargs"]}  # those of a file of arguments, and as typed, None among them
        overrides = {name: value for name, value in given.items() if name not in _own_arguments(workflow)}
        runs = any(frame.f_code.co_name == "run" for frame in _monai_frames())
        found = check_config(call["config_file"], overrides, run_id, call["_args"].get("tracking"), volumes=runs)
    else:
        content = {name: value for name, value in config.items() if name != "_meta_"}
        merged = Merged([Source("", content, {})], {})
        found = check_merged(merged, base, run_id, volumes=False)  # of monai.bundle.load, which runs nothing, too
    refuse(found.problems)
    _expand_paths(workflow.parser)


def _expand_paths(parser: Any) -> None:
    """Give the workflow the names that the check expanded: nothing of these keys was evaluated yet."""
    from monai.bundle import ConfigItem

    given = {key: parser.config[key] for key in KEYS if key in parser.config}
    full = dict(given)
    expand_paths(full)
    for key in (key for key in given if full[key] != given[key]):
        parser.config[key] = full[key]
        values = full[key] if isinstance(full[key], list) else []
        items = {key: full[key], **{f"{key}::{number}": value for number, value in enumerate(values)}}
        for name, value in items.items():
            parser.ref_resolver.items[name] = ConfigItem(config=value, id=name)
            parser.ref_resolver.resolved_content.pop(name, None)


def _callers() -> tuple[Any, dict[str, Any] | None]:
    """The workflow that is being initialised, and what it was made from if MONAI's command did."""
    from monai.bundle import ConfigWorkflow  # imported long since where there is a workflow; not by the command line

    workflow = None
    for frame in _frames():
        own = frame.f_locals.get("self")
        if workflow is None and isinstance(own, ConfigWorkflow):
            workflow = own
        if frame.f_code.co_name == "create_workflow" and "_args" in frame.f_locals:
            return workflow, frame.f_locals
    return workflow, None


def _monai_frames() -> Iterator[FrameType]:
    """Calls of MONAI's commands: `run`, or `load`, which makes a workflow without running it."""
    return (frame for frame in _frames() if frame.f_globals.get("__name__") == "monai.bundle.scripts")


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _own_arguments(workflow: Any) -> tuple[str, ...]:
    """Arguments of the workflow itself among the overrides."""
    code = type(workflow).__init__.__code__
    return code.co_varnames[1 : code.co_argcount]
