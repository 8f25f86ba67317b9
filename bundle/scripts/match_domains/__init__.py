"""Match the two domains before training: object size for each axis, polarity and intensity range.

Sizes come from X's labels and, for Y, from the voxel sizes or from the image alone; the result is an overlay for
train.yaml and inference.yaml. Start it with ``python -m scripts.match_domains``.
"""

from scripts.match_domains.diameter import ImageSize, Shapes, image_size, label_diameters, shapes_of
from scripts.match_domains.match import Domain, Match, match_volumes
from scripts.match_domains.overlay import overlay_text
from scripts.match_domains.picture import draw_match
from scripts.match_domains.warning import warn_of_sizes

__all__ = [
    "Domain",
    "ImageSize",
    "Match",
    "Shapes",
    "draw_match",
    "image_size",
    "label_diameters",
    "match_volumes",
    "overlay_text",
    "shapes_of",
    "warn_of_sizes",
]
