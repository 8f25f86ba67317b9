"""Pictures as text that a page holds itself: sections in grey, objects laid over them, panels of a training."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scripts.report.colour import PALETTE, outline

__all__ = ["embedded", "grey_frames", "outline_frames", "overlay_frames"]

QUALITY, LEAST = 75, 360
"""Of JPEG; and pixels to which objects in small sections are enlarged, so that outlines are thin."""


def embedded(content: bytes | Path, kind: str) -> str:
    """A picture as a data URI; `kind` is "jpeg" or "png"."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def grey_frames(pictures: Sequence[np.ndarray]) -> list[list[str]]:
    """JPEGs of arrays (sections, H, W), with the grey values of their common percentiles 0.3 and 99.7 black and white.

    Memory: one section beside the arrays, of which every value but one in about four million is left out of account.
    """
    step = max(1, round(sum(stack.size for stack in pictures) / 4e6))
    some = np.concatenate([stack.ravel()[::step] for stack in pictures])
    low, high = np.percentile(some, (0.3, 99.7))

    def frame(section: np.ndarray) -> str:
        grey = np.clip((section - low) / max(high - low, 1e-6), 0, 1) * 255
        return _encoded(Image.fromarray(grey.round().astype(np.uint8)), "JPEG", quality=QUALITY)

    return [[frame(section) for section in stack] for stack in pictures]


def overlay_frames(stack: np.ndarray, colours: Mapping[int, int]) -> list[str]:
    """PNGs, clear where nothing is, of labels (sections, H, W): a veil of colour and an outline for each object.

    Args:
        stack: integer labels.
        colours: label -> index into `scripts.report.colour.PALETTE`.
    """
    count = len(PALETTE)
    palette = [(0, 0, 0, 0)] + [(*_bytes(c), veil) for veil in (90, 255) for c in PALETTE]

    def frame(labels: np.ndarray) -> str:
        large = _enlarged(labels)
        ids, inverse = np.unique(large, return_inverse=True)
        table = np.array([1 + colours[i] if i else 0 for i in ids.tolist()], np.uint8)
        return _indexed(table[inverse.reshape(large.shape)] + count * outline(large).astype(np.uint8), palette)

    return [frame(labels) for labels in stack]


def outline_frames(stack: np.ndarray) -> list[str]:
    """PNGs of labels (sections, H, W), clear but for white outlines."""
    palette = [(0, 0, 0, 0), (255, 255, 255, 255)]
    return [_indexed(outline(_enlarged(labels)).astype(np.uint8), palette) for labels in stack]


def _enlarged(labels: np.ndarray) -> np.ndarray:
    rows, columns = (max(1, round(LEAST / side)) for side in labels.shape)
    return labels.repeat(min(rows, 4), 0).repeat(min(columns, 4), 1)


def _indexed(picture: np.ndarray, palette: Sequence[tuple[int, int, int, int]]) -> str:
    image = Image.fromarray(picture).convert("P")
    image.putpalette([value for colour in palette for value in colour[:3]])
    return _encoded(image, "PNG", transparency=bytes(colour[3] for colour in palette), optimize=True)


def _bytes(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (colour * 255).round().astype(int).tolist()
    return red, green, blue


def _encoded(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return embedded(buffer.getvalue(), kind.lower())
