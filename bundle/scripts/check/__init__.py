"""The configuration checked before any work: all that is wrong with files and overrides, on one screen.

MONAI takes a misspelt key as a new one, and a value as it comes. Here keys, types, ranges, references, the order of the
files and what has to fit together (maps and channels, windows and network, patches and volumes) are looked at first:

    python -m scripts.check --config_file "['configs/train.yaml','configs/demo.yaml']" --dataset_dir D

`training`, `inference`, `evaluating` and block-wise runs do it by themselves, as `check_run` stands in `initialize`.
MONAI is not imported, torch only to read the plan of a model, and no class is made. `scripts.check.volume.Volumes` says
which voxels are read.
"""

from typing import TYPE_CHECKING, Any

from scripts.check.command import Findings, check_config
from scripts.check.problem import Problem, refuse
from scripts.check.running import check_run

if TYPE_CHECKING:
    from scripts.check.setting import run_settings
    from scripts.check.transform import CheckImaged, CheckLabeld, read_and_checked

__all__ = [
    "CheckImaged",
    "CheckLabeld",
    "Findings",
    "Problem",
    "check_config",
    "check_run",
    "read_and_checked",
    "refuse",
    "run_settings",
]


def __getattr__(name: str) -> Any:
    # These import MONAI, which takes seconds that a check of the configuration need not wait.
    if name in ("CheckImaged", "CheckLabeld", "read_and_checked"):
        from scripts.check import transform

        return getattr(transform, name)
    if name == "run_settings":
        from scripts.check.setting import run_settings

        return run_settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
