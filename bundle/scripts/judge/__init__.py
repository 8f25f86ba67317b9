"""Judge results without labels: how steady they are under small changes, and what speaks against them."""

from scripts.judge.consistency import Repeated, predictor_of, repeat
from scripts.judge.estimate import Estimate, difference, estimate
from scripts.judge.perturbation import PERTURBATIONS, Perturbation

__all__ = ["PERTURBATIONS", "Estimate", "Perturbation", "Repeated", "difference", "estimate", "predictor_of", "repeat"]
