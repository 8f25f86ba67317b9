"""Target maps: how an instance label becomes maps to learn, and how logits become maps again.

A map knows its channels, ``encode(label)``, ``activate(logits)``, ``to_unit(activated)`` and ``loss(logits, target)``;
:class:`Representation` stacks maps and is the one place that knows how many channels there are.
"""

from scripts.representation.binary import Affinity, Contour, Foreground
from scripts.representation.distance import SignedDistance
from scripts.representation.stack import Representation

__all__ = ["Affinity", "Contour", "Foreground", "Representation", "SignedDistance"]
