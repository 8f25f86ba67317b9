"""How a model sees its volumes: what a model.pt, its maps and its exports carry, so that nobody types it again."""

from typing import TYPE_CHECKING, Any

from scripts.plan.plan import FIXED, MAY_DIFFER, METADATA, WITHOUT_EFFECT, Plan

if TYPE_CHECKING:
    from scripts.plan.training import training_plan

__all__ = ["FIXED", "MAY_DIFFER", "METADATA", "WITHOUT_EFFECT", "Plan", "training_plan"]


def __getattr__(name: str) -> Any:
    # It imports torch, which takes seconds that a reader of plans need not wait.
    if name == "training_plan":
        from scripts.plan.training import training_plan

        return training_plan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
