"""One forward pass in the place of two that differ in what their gradient may reach."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["GradientCut"]


class GradientCut:
    """Images (B, 1, Z, Y, X) of one network, cut from their history, through which chosen terms still reach it.

    The published code gives every translated image to the other generator twice: as it is, for the cycle's terms, and
    detached, for the maps. One pass over `leaves` serves both: `gradients` are those of the cycle's terms alone, to be
    handed to `images` when all terms are propagated. Every parameter's gradient is the same, for four generator passes
    instead of six and a second walk back through two of them that leaves the weights out.

    Args:
        *images: what was made; each must have a gradient.
    """

    def __init__(self, *images: Tensor) -> None:
        self.images = list(images)
        self.leaves = [image.detach().requires_grad_() for image in images]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Return the gradient of `loss` at every leaf, 0 where it does not depend on one; the graph is kept."""
        return list(torch.autograd.grad(loss, self.leaves, retain_graph=True, materialize_grads=True))
