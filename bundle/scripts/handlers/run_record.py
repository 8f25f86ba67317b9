"""What a run was: its configuration after merging, seed, command, versions, machine and state of the code."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from ignite.engine import Engine, Events
from scripts.command.bundle import BUNDLE, parser_at_work
from scripts.trainer import last_iteration
from scripts.volume_io.replacement import write_text

__all__ = ["RunRecord", "installed_versions"]

logger = logging.getLogger(__name__)


class RunRecord:
    """Writes `configuration.yaml`, which can be run itself, and `run.json`, for `scripts.report.html` and for people.

    run.json holds `runs`, one dictionary for each time that the training was started: one, and one more for each time
    that it was resumed. Only what is named here is recorded: nothing of the environment's variables, and no name of the
    machine or of its user but in the paths and the command that were given.

    Args:
        output_dir: where the two files go.
        seed: of the run.
        volumes: files of the volumes by name, such as `label_x`; kept as they are given.
    """

    def __init__(self, output_dir: str, seed: int | None = None, volumes: Mapping[str, Any] | None = None) -> None:
        self.folder, self.seed, self.volumes = Path(output_dir), seed, dict(volumes or {})
        self.configuration = _configuration()
        self.runs: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Write when `engine` starts, and once more when it has come to its end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._end)

    def _start(self, engine: Any) -> None:
        if engine.state.rank != 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.configuration is not None:
            text = yaml.safe_dump(self.configuration, sort_keys=False, allow_unicode=True, width=120)
            write_text(self.folder / "configuration.yaml", text)
        processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        run = {
            "started": _now(),
            "ended": None,
            "seed": self.seed,
            "first_iteration": engine.state.iteration,
            "iterations": last_iteration(engine),
            "warm_up_iterations": getattr(engine, "warm_up_iterations", 0),
            "volumes": self.volumes,
            "folder": os.getcwd(),
            "command": _command(processes),
            "machine": {**_machine(), "device": _device(engine), "processes": processes},
            "versions": installed_versions(),
            "code": _code(),
        }
        self.runs = [*(self._earlier() if engine.state.iteration else []), run]
        self._write()

    def _end(self, engine: Any) -> None:
        if engine.state.rank == 0:
            self.runs[-1] |= {"ended": _now(), "last_iteration": engine.state.iteration}
            self._write()
            logger.info(
                "`python -m scripts.report.html --run %s` makes a page of this run.", shlex.quote(str(self.folder))
            )

    def _earlier(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads((self.folder / "run.json").read_text())["runs"])
        except (OSError, ValueError, KeyError, TypeError):
            return []  # a training of before there was this file

    def _write(self) -> None:
        text = json.dumps({"runs": self.runs}, indent=2, default=str)
        write_text(self.folder / "run.json", text + "\n")


def _configuration() -> dict[str, Any] | None:
    """The merged configuration that is being turned into objects; None where nobody parses one."""
    parser = parser_at_work()
    return None if parser is None else dict(json.loads(json.dumps(parser.get(), default=str)))


def _command(processes: int) -> str | None:
    """The bundle's command as it was typed; None where the training was started by other means."""
    if "monai.bundle" not in sys.orig_argv:
        return None
    launcher = ["python"] if processes == 1 else ["torchrun", "--standalone", f"--nproc_per_node={processes}"]
    return " ".join(map(_quoted, [*launcher, "-m", *sys.orig_argv[sys.orig_argv.index("monai.bundle") :]]))


def _quoted(word: str) -> str:
    """As the shell wants it; lists of names in single quotes stay readable."""
    return f'"{word}"' if "'" in word and not set('"$`\\!') & set(word) else shlex.quote(word)


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def _processor() -> str:
    """Its name; Python knows it only where the system says it in a way of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _device(engine: Any) -> str:
    device = torch.device(getattr(engine.state, "device", None) or "cpu")
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def installed_versions() -> dict[str, str]:
    """Return versions of the bundle, of Python, and of the packages that the bundle's metadata name."""
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    found = {"bundle": str(metadata["version"]), "python": platform.python_version()}
    for name in ("torch", "monai", "numpy", *metadata["required_packages_version"]):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _code() -> dict[str, Any] | None:
    """Commit of the checkout that holds the bundle, and whether tracked files differ from it; None without one."""
    command = ["git", "-C", str(BUNDLE)]
    try:
        commit = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=30, check=True)
        status = [*command, "status", "--porcelain", "--untracked-files=no", "--", "."]
        changed = subprocess.run(status, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "changed": sorted(line[3:] for line in changed.splitlines())}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
