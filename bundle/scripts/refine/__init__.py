"""Refinement: in rounds, a model learns from its own instances of Y that can be trusted, beside X's labels."""

from scripts.refine.cleaning import Cleaning
from scripts.refine.crop import SureCrops
from scripts.refine.round import Rounds
from scripts.refine.target import EncodeSureTargetsd
from scripts.refine.trainer import RefineTrainer

__all__ = ["Cleaning", "EncodeSureTargetsd", "RefineTrainer", "Rounds", "SureCrops"]
