"""The two network families of the method, built from MONAI layers: generator U-Net and patch discriminator.

Both follow the published design (arXiv 2204.03082 and its released code): kernels and strides are anisotropic in the
fine stages, where serial sections are thicker than the in-plane voxel, and isotropic in the coarse ones.
"""

from scripts.networks.block import NonLocalBlock, ResidualSEBlock, bare
from scripts.networks.discriminator import PatchDiscriminator3D
from scripts.networks.generator import SegmentationGenerator
from scripts.networks.layer import ChannelNorm, ConvNormAct, Convolution

__all__ = [
    "ChannelNorm",
    "ConvNormAct",
    "Convolution",
    "NonLocalBlock",
    "PatchDiscriminator3D",
    "ResidualSEBlock",
    "SegmentationGenerator",
    "bare",
]
