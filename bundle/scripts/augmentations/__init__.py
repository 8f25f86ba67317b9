"""Random transforms for stacks of sections that MONAI lacks, as array and dictionary transforms in its grammar.

Those of geometry (`RandMisalignment`, `RandMissingSection`, `RandElasticInPlane`, `RandRescaleInPlane`) take an image
and its label, and act on both by the same draw: whole numbers are labels and keep their values and their type, floats
are interpolated. Those of grey values and the defects of a section expect images in [0, 1] and keep to that range.
Probabilities and amounts are those of the authors' code (PyTorch Connectomics v1.0, projects/CySGAN); augmentations of
this kind are described by Lee et al., arXiv 1706.00120, and Lin et al., arXiv 2112.05754.
"""

from scripts.augmentations.defect import (
    RandCutBlur,
    RandCutBlurd,
    RandCutNoise,
    RandCutNoised,
    RandMissingParts,
    RandMissingPartsd,
    RandMotionBlur,
    RandMotionBlurd,
)
from scripts.augmentations.density import RandDensity, RandDensityd
from scripts.augmentations.grey import RandGreyValue, RandGreyValued
from scripts.augmentations.section import RandMisalignment, RandMisalignmentd, RandMissingSection, RandMissingSectiond
from scripts.augmentations.warp import RandElasticInPlane, RandElasticInPlaned, RandRescaleInPlane, RandRescaleInPlaned

__all__ = [
    "RandCutBlur",
    "RandCutBlurd",
    "RandCutNoise",
    "RandCutNoised",
    "RandDensity",
    "RandDensityd",
    "RandElasticInPlane",
    "RandElasticInPlaned",
    "RandGreyValue",
    "RandGreyValued",
    "RandMisalignment",
    "RandMisalignmentd",
    "RandMissingParts",
    "RandMissingPartsd",
    "RandMissingSection",
    "RandMissingSectiond",
    "RandMotionBlur",
    "RandMotionBlurd",
    "RandRescaleInPlane",
    "RandRescaleInPlaned",
]
