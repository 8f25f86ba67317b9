"""Judge results without labels: how steady and how certain they are, and what speaks against them."""

from scripts.judge.consistency import Repeated, predictor_of, repeat
from scripts.judge.estimate import Estimate, Tally, difference, estimate
from scripts.judge.handler import JudgeHandler
from scripts.judge.perturbation import PERTURBATIONS, Perturbation

__all__ = [
    "PERTURBATIONS",
    "Estimate",
    "JudgeHandler",
    "Perturbation",
    "Repeated",
    "Tally",
    "difference",
    "estimate",
    "predictor_of",
    "repeat",
]
