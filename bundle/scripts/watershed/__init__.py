"""Maps to instances by seeded watershed, as a library and as ``python -m scripts.watershed --pred P --out S``.

The thresholds keep the meaning they have in PyTorch Connectomics (``bcd_watershed``, ``bc_watershed``):

==================  =============  =========================================================================
here                reference      meaning
==================  =============  =========================================================================
seed_foreground     thres1         a seed's foreground, 0 to 1, is above this
seed_contour        thres2         a seed's contour, 0 to 1, is below this
mask_foreground     thres3         an instance's foreground, 0 to 1, is above this
seed_distance       thres4         a seed's signed distance, -1 to 1, is above this
mask_distance       thres5         an instance's signed distance, -1 to 1, is above this
min_seed_size       seed_thres     seeds with fewer voxels are dropped
min_instance_size   thres_small    instances with fewer voxels are small: small_mode says what becomes of them
==================  =============  =========================================================================

Defaults are the set of the CySGAN authors; those of the reference's function are 0.9, 0.8, 0.85, 0.5, 0.0, 32, 128.
:func:`affinity_watershed`, for maps of affinities, has no counterpart there.

With ``ties="heap"`` its results are reproduced voxel for voxel, slowly. By default seed voxels of equal height are
flooded from in raster order. The reference leaves their order to the heap of scikit-image. So some voxels go to the
other of two touching instances: 10 in a thousand at most in our examples (`tools/ties.py`), no instance is lost. In
return the default is much faster, and what becomes of a nucleus does not depend on what else the volume holds, so that
volumes can be cut (:mod:`scripts.blockwise`).

The reference is PyTorch Connectomics with scikit-image before 0.25: from then on the flood of scikit-image never sinks
below a rim it has crossed. No version of it floods here.
"""

from scripts.watershed.affinity import AffinityWatershed, affinity_watershed
from scripts.watershed.choice import TARGETS, decoder_of
from scripts.watershed.decode import BCDWatershed, BCWatershed, bc_watershed, bcd_watershed
from scripts.watershed.stage import STAGES

__all__ = [
    "STAGES",
    "TARGETS",
    "AffinityWatershed",
    "BCDWatershed",
    "BCWatershed",
    "affinity_watershed",
    "bc_watershed",
    "bcd_watershed",
    "decoder_of",
]
