"""Transforms that MONAI lacks, as array and dictionary transforms in its grammar.

Grey values, resolution, targets, instances and the part that is held out; and random transforms for stacks of
sections. Random ones of geometry (`RandMisalignment`, `RandMissingSection`, `RandElasticInPlane`, `RandRescaleInPlane`)
take an image and its label, and act on both by the same draw: whole numbers are labels and keep their values and their
type, floats are interpolated. Random ones of grey values and the defects of a section expect images in [0, 1] and keep
to that range. Probabilities and amounts are those of the authors' code (PyTorch Connectomics v1.0, projects/CySGAN);
augmentations of this kind are described by Lee et al., arXiv 1706.00120, and Lin et al., arXiv 2112.05754.
"""

from scripts.transforms.defect import (
    RandCutBlur,
    RandCutBlurd,
    RandCutNoise,
    RandCutNoised,
    RandMissingParts,
    RandMissingPartsd,
    RandMotionBlur,
    RandMotionBlurd,
)
from scripts.transforms.density import RandDensity, RandDensityd
from scripts.transforms.grey import RandGreyValue, RandGreyValued
from scripts.transforms.histogram import MatchHistogram, MatchHistogramd
from scripts.transforms.hold_out import HoldOutd
from scripts.transforms.intensity import ScaleGreyValues, ScaleGreyValuesd
from scripts.transforms.sample import sample_augmentation
from scripts.transforms.scaling import ScaleVolume, ScaleVolumed
from scripts.transforms.section import RandMisalignment, RandMisalignmentd, RandMissingSection, RandMissingSectiond
from scripts.transforms.target import DecodeInstances, DecodeInstancesd, EncodeTargets, EncodeTargetsd
from scripts.transforms.warp import RandElasticInPlane, RandElasticInPlaned, RandRescaleInPlane, RandRescaleInPlaned

__all__ = [
    "DecodeInstances",
    "DecodeInstancesd",
    "EncodeTargets",
    "EncodeTargetsd",
    "HoldOutd",
    "MatchHistogram",
    "MatchHistogramd",
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
    "ScaleGreyValues",
    "ScaleGreyValuesd",
    "ScaleVolume",
    "ScaleVolumed",
    "sample_augmentation",
]
