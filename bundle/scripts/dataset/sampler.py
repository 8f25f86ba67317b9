"""Items numbered through the whole training, whatever its passes and breaks."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

__all__ = ["EndlessSampler"]


class EndlessSampler(Sampler[int]):
    """Numbers items through all passes: 0 to `length` - 1 in the first, on from `length` in the second.

    Args:
        length: items of a pass.
        batch_size: items of an iteration.
    """

    def __init__(self, length: int, batch_size: int = 1) -> None:
        self.length, self.batch_size = length, batch_size
        self.position = 0

    def go_to(self, iteration: int) -> None:
        """Let the next pass begin behind so many iterations; it then ends where it would have ended."""
        self.position = iteration * self.batch_size

    def __len__(self) -> int:
        """Return the number of items in a whole pass."""
        return self.length

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers from here to the end of this pass; the next call continues from there."""
        start = self.position
        self.position = (start // self.length + 1) * self.length
        return iter(range(start, self.position))
