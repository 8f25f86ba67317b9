"""Volumes: are they there, can they be decoded, do labels fit, is a patch larger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.check.merge import Merged
from scripts.check.problem import Problem, shown
from scripts.check.range import ITEMS, MOST_SCALED
from scripts.check.schema import follows
from scripts.check.tree import child, is_component
from scripts.check.value import Values
from scripts.errors import InputError

if TYPE_CHECKING:
    from scripts.volume_io import ChunkedVolume, Place

__all__ = ["Volumes"]

Shape = tuple[int, ...]
READ_WHOLE = 2**28


class Volumes:
    """Opens the volumes that a configuration names; `shapes` has (Z, Y, X) of each that could be, by its name.

    One voxel of each is read; with `content` all voxels of volumes up to 256 MB, and some planes of larger labels.
    """

    def __init__(self, merged: Merged, values: Values, content: bool = False) -> None:
        self.merged, self.values, self.content = merged, values, content
        self.shapes: dict[str, Shape] = {}
        self._places: dict[str, Place] = {}
        self._told: set[str] = set()
        self._names: dict[str, list[str]] = {}

    def training(self, base: Mapping[str, Any]) -> Iterator[Problem]:
        """See to X, its labels, Y and its labels; where other volumes are trained on as X, to these."""
        from scripts.check.pairing import check_training_roles

        data, held_out = "train::dataset::data", "validate::dataset::data"
        if child(self.merged.config, data) == child(base, data):
            source = yield from self._pair("image_x", "label_x", "scale_x")
        else:
            source = yield from self._items(data, "scale_x")
            self._names["image_x"] = [item["image"] for item in source]
        if child(self.merged.config, held_out) != child(base, held_out):
            yield from self._items(held_out)
        target = yield from self._pair("image_y", "label_y", "scale_y")
        yield from self._held("image_y", lambda: check_training_roles(source, target, self.content))
        self._compare_domains()

    def inference(self) -> Iterator[Problem]:
        """See to what is read, images and their labels if there are some, and the extension of what is written."""
        from scripts.check.pairing import check_roles
        from scripts.volume_io.result import check_results

        if is_component(child(self.merged.config, "dataset::data")):
            items = yield from self._pair("image", "label")
        else:
            items = yield from self._items("dataset::data")
        yield from self._held("label", lambda: check_roles(items))
        if isinstance(folder := self.values["output_dir"], str) and child(self.merged.config, "blockwise") is None:
            yield from self._held("image", lambda: check_results([item["image"] for item in items], folder))
        names = [item["image"] for item in items]
        for name in names:
            yield from self._held("image", partial(self._check_size, name))
        if child(self.merged.config, "blockwise") is None:  # which scales window by window, from a file of any size
            yield from self._scaled(names, "scale", itemsize=1)
        if isinstance(extension := self.values["output_ext"], str):
            from scripts.volume_io.paths import format_of

            try:
                format_of(Path(f"instances.{extension.lstrip('.')}"))
            except InputError as error:
                yield Problem("", "output_ext", str(error))

    def _items(self, key: str, scale: str | None = None) -> Any:
        """See to the dictionaries that another program, or the command line, gives instead of a domain's files."""
        items = self.values[key]
        if not follows(items, ITEMS):
            return []
        yield from self._opened(key, [item["image"] for item in items], False)
        yield from self._opened(key, [item["label"] for item in items if item.get("label")], True)
        opened = [item for item in items if {item["image"], item.get("label") or item["image"]} <= self._places.keys()]
        for item in opened:
            if item.get("label"):
                yield from self._held(key, partial(self._check_places, item["image"], item["label"]))
        yield from self._fitting([item["image"] for item in items], scale)
        return [{name: item[name] for name in ("image", "label") if item.get(name)} for item in opened]

    def _pair(self, image: str, label: str, scale: str | None = None) -> Any:
        """See to the volumes of two keys; return the pairs that could be opened, as `volume_items` does."""
        from scripts.volume_io.pattern import check_pairs, has_pattern

        images = yield from self._named(image)
        labels = yield from self._named(label)
        if images and labels:
            is_sorted = has_pattern(self.values[image]) or has_pattern(self.values[label])
            yield from self._held(label, lambda: check_pairs(images, labels, is_sorted))
        opened = [pair for pair in zip(images, labels, strict=False) if self._places.keys() >= set(pair)]
        for pair in opened:
            yield from self._held(label, partial(self._check_places, *pair))
        yield from self._fitting(images, scale)
        items = [{"image": name, "label": other} for name, other in opened]
        return items or [{"image": name} for name in images if name in self._places]

    def _fitting(self, images: Sequence[str], scale: str | None) -> Iterator[Problem]:
        """See that volumes to train on fit into memory, and patches into them."""
        if scale is not None:
            yield from self._scaled(images, scale, itemsize=4)
            for name in dict.fromkeys(images):
                yield from self._patch(name, scale)

    def _check_places(self, image: str, label: str) -> None:
        from scripts.volume_io import turn_to

        turn_to(self._places[image], self._places[label])

    def _check_size(self, name: str) -> None:
        """See that the voxels of a volume can be compared with those that the model was trained on."""
        from scripts.volume_io.physical import physical_scale

        factors, trained = self.values["scale"], self.values["training_voxel_size"]
        if _are_numbers(factors) and _are_numbers(trained) and name in self._places:
            physical_scale(factors, trained, self._places[name].voxel_size, name)

    def _scaled(self, names: Sequence[str], scale: str, itemsize: int) -> Iterator[Problem]:
        """See that volumes fit into memory once they are scaled: grey values of training are kept as float32."""
        factors = self.values[scale]
        if not _are_numbers(factors) or not min(factors) > 0 or not 1 < max(factors) <= MOST_SCALED:
            return  # larger ones are told by their rule
        from scripts.volume_io.volume import check_scaled_memory

        for name in names:
            try:
                if name in self.shapes:
                    check_scaled_memory(self.shapes[name], factors, name, itemsize)
            except InputError as error:
                yield from self._once(scale, str(error))

    def _compare_domains(self) -> None:
        """Warn where the voxels of X and Y, as the network sees them, cannot be those of objects of one size."""
        from scripts.volume_io.unit import MOST_APART, apart, warn_once

        seen = {key: self._seen_size(f"image_{key}", f"scale_{key}") for key in "xy"}
        if (x := seen["x"]) is None or (y := seen["y"]) is None or (factor := apart(x[1], y[1])) <= MOST_APART:
            return
        sizes = "; ".join(f"{name}: {' x '.join(f'{side:.4g}' for side in size)} µm" for name, size in (x, y))
        warn_once(
            f"after scale_x and scale_y the voxels (z, y, x) of X and Y differ by a factor of {factor:.4g}: {sizes}. "
            "One of the two voxel sizes cannot be right, or the scales do not match: look at the units in these files."
        )

    def _seen_size(self, key: str, scale: str) -> tuple[str, list[float]] | None:
        """Return the first volume of a key that states a voxel size, and that size after scaling."""
        factors = self.values[scale]
        for name in self._names.get(key, ()) if _are_numbers(factors) and min(factors) > 0 else ():
            if (size := getattr(self._places.get(name), "voxel_size", None)) is not None:
                return name, [side / factor for side, factor in zip(size, factors, strict=True)]
        return None

    def _named(self, key: str) -> Any:
        """Open the volumes of a key; return their names, none where the key has none."""
        spec = self.values[key]
        names = spec if isinstance(spec, (str, list)) else []
        self._names[key] = yield from self._opened(key, names, key.startswith("label"))
        return self._names[key]

    def _opened(self, key: str, spec: str | Sequence[str], are_labels: bool) -> Any:
        """Open volumes and return their names."""
        from scripts.volume_io import list_volumes, open_volume

        if not spec:
            return []
        try:
            names = list_volumes(spec)
        except InputError as error:
            yield from self._once(key, str(error))
            return []
        for name in names:
            try:
                if name not in self._places:
                    self._places[name] = _decoded(open_volume(name)).place
                    self.shapes[name] = self._places[name].shape
                if self.content:
                    _check_content(name, are_labels)
            except InputError as error:
                yield from self._once(key, str(error))
        return names

    def _held(self, key: str, check: Callable[[], Any]) -> Iterator[Problem]:
        """What a check raises, as a problem of a key."""
        try:
            check()
        except InputError as error:
            yield from self._once(key, str(error))

    def _once(self, key: str, message: str) -> Iterator[Problem]:
        """A volume that two keys name is told once."""
        if message not in self._told:
            self._told.add(message)
            yield Problem("", key, message)

    def _patch(self, name: str, scale: str) -> Iterator[Problem]:
        factors, patch, shape = self.values[scale], self.values["patch_size"], self.shapes.get(name)
        if shape is None or not _are_numbers(factors) or not _are_numbers(patch):
            return
        scaled = [max(1, round(n * factor)) for n, factor in zip(shape, factors, strict=True)]
        if any(n < p for n, p in zip(scaled, patch, strict=True)):
            fitting = [min(n, p) for n, p in zip(scaled, patch, strict=True)]
            expected = f"at most {scaled}, which {name} {shape} has after {scale} {factors}"
            advice = f"The largest that fits is {fitting}."
            yield Problem(self.merged.place("patch_size"), "patch_size", shown(patch), expected, advice)


def _check_content(name: str, is_label: bool) -> None:
    """See that voxels are those of an image or of a label: all of a small volume, some planes of a larger label."""
    from scripts.check.array import check_image, check_label, check_label_type
    from scripts.check.fragmentation import check_fragmentation
    from scripts.volume_io import open_volume

    volume = open_volume(name)
    if prod(volume.shape) * volume.dtype.itemsize <= READ_WHOLE:
        (check_label if is_label else check_image)(volume[...], name)
    elif is_label:
        check_label_type(volume, name)
        check_fragmentation(volume, name)


def _decoded(volume: ChunkedVolume) -> ChunkedVolume:
    """Decode a voxel in the middle, which takes one chunk or plane: codecs that are missing show only then.

    Packed NIfTI has no parts; of it the header is enough.
    """
    if not volume.name.lower().endswith(".gz"):
        volume[tuple(slice(side // 2, side // 2 + 1) for side in volume.shape)]
    return volume


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(n, (int, float)) for n in value)
