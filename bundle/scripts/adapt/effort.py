"""How much work an adaptation takes: the overlays of each effort, and what its generators start from."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.errors import InputError

__all__ = ["EFFORTS", "Effort", "effort_named"]


@dataclass(frozen=True)
class Effort:
    """One effort.

    Attributes:
        overlays: names of files in configs/, on train.yaml.
        about: how long it takes.
        start_from: weights that both generators start from where the user names none, in the bundle's folder; None:
            fresh ones.
    """

    overlays: tuple[str, ...]
    about: str
    start_from: str | None = None


EFFORTS = {
    "quick": Effort(("demo", "light_augmentation", "judged"), "about half an hour on two cores"),
    "standard": Effort(("judged",), "about three hours on two cores"),
    "published": Effort(("published", "judged"), "for a GPU"),
}


def effort_named(name: str) -> Effort:
    """Look an effort up.

    Raises:
        InputError: there is none of that name.
    """
    if name not in EFFORTS:
        told = "; ".join(f"{known} ({effort.about})" for known, effort in EFFORTS.items())
        raise InputError(f"--effort: found {name}, expected one of: {told}.")
    return EFFORTS[name]
