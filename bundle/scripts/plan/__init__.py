"""How a model sees its volumes: what a model.pt, its maps and its exports carry, so that nobody types it again."""

from scripts.plan.plan import FIXED, MAY_DIFFER, Plan

__all__ = ["FIXED", "MAY_DIFFER", "Plan"]
