"""The methods that can be compared: each an overlay of the same training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.errors import InputError

__all__ = ["METHODS", "Method", "methods_named"]


@dataclass(frozen=True)
class Method:
    """How a method is called in tables, and the overlay on train.yaml that makes it; none for what is not trained."""

    title: str
    overlay: str | None = None
    trained: bool = True
    needs_labels_of_y: bool = False


METHODS = {
    "cysgan": Method("CySGAN"),
    "source_only": Method("source only", "baseline_source_only"),
    "histogram": Method("histogram matching", "baseline_histogram"),
    "two_step": Method("CycleGAN, then segmentation", "baseline_two_step"),
    "mean_teacher": Method("mean teacher", "baseline_mean_teacher"),
    "no_semi_supervised": Method("CySGAN without terms on maps of Y", "ablation_no_semi_supervised"),
    "frozen_discriminator_s": Method("CySGAN, discriminator_s frozen", "ablation_frozen_discriminator_s"),
    "no_input_defects": Method("CySGAN without input defects", "ablation_no_input_defects"),
    "oracle": Method("trained on Y's own labels", "oracle", needs_labels_of_y=True),
    "classical": Method("classical recipe", trained=False),
}
"""By the name that the command line knows."""


def methods_named(names: Sequence[str], labels_of_y: bool) -> dict[str, Method]:
    """Look methods up.

    Raises:
        InputError: an unknown one, one named twice, none, or one that needs labels of Y where there are none.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names or len(set(names)) < len(names):
        raise InputError(
            f"methods: found {', '.join(names) or 'none'}; expected some of {', '.join(METHODS)}, each once."
        )
    for name in names:
        if METHODS[name].needs_labels_of_y and not labels_of_y:
            raise InputError(f"{name} is trained on labels of Y, and there are none: give --label_y, or leave it out.")
    return {name: METHODS[name] for name in names}
