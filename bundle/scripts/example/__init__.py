"""The example pair: a labelled EM-like volume X and an unlabelled fluorescence-like volume Y, drawn from a seed.

Nothing is downloaded. X and Y hold different nuclei of the same shape statistics (two size classes, clusters of
touching nuclei), since the method transfers shapes from one domain to the other. Both are simulated and are to be
called so. Lengths are in voxels of y and x; one section is ``SPACING[0]`` of them thick.
"""

from scripts.example.field import SPACING
from scripts.example.look import ElectronLook, FluorescenceLook, varied
from scripts.example.pair import make_pair, make_source, write_pair

__all__ = ["SPACING", "ElectronLook", "FluorescenceLook", "make_pair", "make_source", "varied", "write_pair"]
