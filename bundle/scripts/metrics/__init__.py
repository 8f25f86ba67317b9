"""Scores of instance segmentations, all from one sparse table of how many voxels each pair of instances shares.

Memory: some tens of MB beside the volumes, plus about 100 bytes for every pair of instances that overlap.
"""

from scripts.metrics.matching import Matching, match_instances
from scripts.metrics.overlap import Contingency, contingency
from scripts.metrics.score import score_instances

__all__ = ["Contingency", "Matching", "contingency", "match_instances", "score_instances"]
