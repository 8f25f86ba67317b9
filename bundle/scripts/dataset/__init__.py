"""Random patches of a labelled source and an unlabelled target.

What is random about item k follows from the seed and from k alone (`PatchPairs`), and items are counted through the
whole training (`EndlessSampler`). So a training that resumes from a checkpoint is shown what it would have been shown
without the break, and the number of worker processes makes no difference.
"""

from scripts.dataset.item import volume_items
from scripts.dataset.loader import TrainingLoader, whole_volumes
from scripts.dataset.patch import PatchPairs, PatchSampler
from scripts.dataset.sampler import EndlessSampler

__all__ = ["EndlessSampler", "PatchPairs", "PatchSampler", "TrainingLoader", "volume_items", "whole_volumes"]
