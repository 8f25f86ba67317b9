"""From two volumes to instances in one command, ``python -m scripts.adapt``, or from Python, on arrays."""

from typing import TYPE_CHECKING, Any

from scripts.adapt.command import adapt_files

if TYPE_CHECKING:
    from scripts.adapt.adaptation import Adapted, adapt
    from scripts.adapt.segmentation import Segmentation, segment

__all__ = ["Adapted", "Segmentation", "adapt", "adapt_files", "segment"]


def __getattr__(name: str) -> Any:
    # They import MONAI, which takes seconds that the command need not wait.
    if name in ("Adapted", "adapt"):
        from scripts.adapt import adaptation

        return getattr(adaptation, name)
    if name in ("Segmentation", "segment"):
        from scripts.adapt import segmentation

        return getattr(segmentation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
