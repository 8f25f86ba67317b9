"""Names of version 0.4 that stand elsewhere now: each still works in 0.5, with a warning that says where it is.

Users' YAML files name classes and functions (`_target_: scripts.losses.dice_from_logits`), and scripts start modules
(`python -m scripts.demo`). Only the standard library is imported here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any

__all__ = ["GONE", "MOVED", "MovedNames", "keep_old_names"]

MOVED = {
    "argument": "command.argument",
    "augmentations": "transforms",
    **{f"command.{name}": "command.bundle" for name in ("BUNDLE", "as_read", "listed", "run_bundle")},
    **{f"command.{name}": "check.overlay" for name in ("configuration", "overlay_files")},
    "dataset.HoldOutd": "transforms",
    "demo": "compare.demo",
    "flag": "command.flag",
    "fragmentation": "check.fragmentation",
    **{f"handlers.{name}": "volume_io.replacement" for name in ("write_table", "write_text")},
    "histogram": "transforms.histogram",
    "image_pool": "trainer.image_pool",
    "intensity": "transforms.intensity",
    **{
        f"intensity.{name}": "transforms.percentile"
        for name in ("Survey", "check_percentiles", "count_values", "grey_ends")
    },
    "loader": "dataset.loader",
    "lock": "command.lock",
    "losses": "representation.loss",
    **{f"losses.{name}": "trainer.term" for name in ("NonFiniteLossError", "anticorrelation", "check_finite")},
    "optimizers": "trainer.optimizer",
    "pairing": "check.pairing",
    "pairing.check_pairs": "volume_io.pattern",
    "preflight": "check.run",
    **{f"preflight.{name}": "command.start" for name in ("expected_error", "plain_errors")},
    "scaling": "transforms.scaling",
    "scaling.check_scaled_memory": "volume_io.volume",
    "start": "command.start",
    "validation": "check.array",
    **{f"validation.{name}": "check.transform" for name in ("CheckImaged", "CheckLabeld")},
    "worker": "command.worker",
}
"""Old module, or old module and name -> the module that has it now; both below scripts."""
GONE = {
    "manifest": "`sha256sum -c --quiet SHA256SUMS` (macOS: `shasum -a 256 -c`) compares the files of a package",
    "viewer": "docs/guides/VIEWERS.md has ten lines that show the stores in Neuroglancer",
}
"""Module that was removed -> what does its work now."""
_OLD = {f"scripts.{key.partition('.')[0]}" for key in MOVED}
_told: dict[Any, Any] = {}


class MovedNames:
    """Finder that gives old modules, and modules that are still there but lack some of their names."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        """Return how a module of the table is loaded, None for any other."""
        if name.removeprefix("scripts.") in GONE:
            return ModuleSpec(name, self)  # type: ignore[arg-type]
        if name not in _OLD:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None:  # nothing, or a folder in which an older version left its caches
            place = MOVED[name.removeprefix("scripts.")].split(".")
            file = os.path.join(*(path or ("",))[:1], *place) + ".py"  # which `python -m` makes the name of the program
            return ModuleSpec(name, self, origin=file)  # type: ignore[arg-type]
        loader: Any = spec.loader
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self.exec_module(module)
            run(module)

        loader.exec_module = exec_module
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Take Python's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        """Let the module look up what it lacks in its new place.

        Raises:
            ImportError: the module was removed.
        """
        if text := _gone(module.__name__):
            raise ImportError(text)
        module.__getattr__ = partial(_moved, module.__name__)  # type: ignore[method-assign]

    def get_code(self, name: str) -> CodeType:
        """Return the code of the module in its new place, for `python -m`; end the program where there is none."""
        if text := _gone(name):
            sys.exit(f"error: {text}")
        place = f"scripts.{MOVED[name.removeprefix('scripts.')]}"
        _warn(name, place)
        spec: Any = importlib.util.find_spec(place)
        return spec.loader.get_code(place)


def keep_old_names() -> None:
    """Put the finder before all others, once: MONAI Label imports `scripts` again."""
    others = [finder for finder in sys.meta_path if type(finder).__name__ != MovedNames.__name__]
    sys.meta_path[:] = [MovedNames(), *others]


def _moved(module: str, name: str) -> Any:
    old = module.removeprefix("scripts.")
    place = MOVED.get(f"{old}.{name}") or MOVED.get(old)
    if place is None or name.startswith("__"):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    new = importlib.import_module(f"scripts.{place}")
    found = getattr(new, name)
    room = sys.modules[new.__name__.rpartition(".")[0]]
    _warn(f"{module}.{name}", f"{(room if name in vars(room).get('__all__', ()) else new).__name__}.{name}")
    return found


def _gone(name: str) -> str:
    """What to say of a module that was removed; empty for any other."""
    instead = GONE.get(name.removeprefix("scripts."))
    return f"{name} was removed in version 0.5: {instead}." if instead else ""


def _warn(old: str, new: str) -> None:
    text = f"{old} is now {new}. Write the new name: the old one ends with version 0.6."
    warnings.warn_explicit(text, FutureWarning, old, 1, registry=_told)
