"""One training step of CySGAN (Lauenburg et al., arXiv 2204.03082), as an engine that MONAI's handlers attach to.

The trainers of the methods that it is compared with are engines of the same kind.
"""

from scripts.trainer.baseline import MeanTeacherTrainer, TwoStepTrainer
from scripts.trainer.engine import WARM_UP_COMPLETED, CySGANTrainer
from scripts.trainer.gradient_cut import GradientCut
from scripts.trainer.image_pool import ImagePool
from scripts.trainer.length import last_iteration
from scripts.trainer.plain_error import PlainErrors
from scripts.trainer.source import NON_FINITE, STAGE_STARTED
from scripts.trainer.update import UNPUBLISHED, FiniteWatch, Update

__all__ = [
    "NON_FINITE",
    "STAGE_STARTED",
    "UNPUBLISHED",
    "WARM_UP_COMPLETED",
    "CySGANTrainer",
    "FiniteWatch",
    "GradientCut",
    "ImagePool",
    "MeanTeacherTrainer",
    "PlainErrors",
    "TwoStepTrainer",
    "Update",
    "last_iteration",
]
