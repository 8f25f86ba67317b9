"""Sliding-window inference of the target maps: activate in each window, then blend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.utils import convert_data_type, convert_to_dst_type, ensure_tuple_rep
from scripts.allocator import reused_memory
from scripts.command.flag import flag
from scripts.errors import InputError
from scripts.inferer.orientation import FLIPS, orient, orientations, restore
from scripts.inferer.part import PartInferer
from scripts.inferer.physical import for_images
from scripts.inferer.window import MODES, WindowGrid, check_images
from scripts.representation import Representation
from scripts.thread import short_waits_beside_others
from scripts.transforms.scaling import checked_scale, resized, scaled_shape
from tqdm import tqdm

__all__ = ["MapInferer"]


class MapInferer(SlidingWindowInferer):
    """Blend the activated maps of a generator over overlapping windows of a volume of any size.

    Memory beside the input: the maps, 4 bytes per voxel and map, or 1 with `as_bytes`; in as many planes as a window
    has, 4 (M + 1) bytes per voxel, 4 (M + 2) `with_image`; besides, a few windows. Flips cost none.

    Args:
        representation: what the channels after the first are (`channels`, `activate`, `to_unit`).
        scale: factors (z, y, x) by which a window is resized for the network, and its maps back again; what the
            network's training volumes were scaled by.
        training_voxel_size: voxel size (z, y, x) in micrometres that `scale` is for. A volume whose metadata state
            another one gets its own scale, see `for_voxel_size`. None: `scale` is for every volume.
        plan: text of the plan that the maps are made with, which their metadata carry with the scale of each volume.
        roi_size: window (z, y, x) in voxels of the network, that is after scaling; clipped to the padded volume. A side
            below 1 means the whole side.
        sw_batch_size: windows given to the network at once.
        overlap: part of a window that its neighbour covers too; 0.5 of 33 × 257 × 257 is a stride of 16 × 128 × 128.
        mode: "gaussian", "constant" or "published" weights in the window; see `scripts.inferer.window.window_weights`.
        sigma_scale: sigma of the Gaussian as a share of the whole window side. The reference's sigma is 0.2 on a grid
            that runs from -1 to 1, i.e. of the half window: 0.1 here.
        padding: voxels (z, y, x) reflected at both ends of each axis before, and cropped after.
        flips: number of orientations that are averaged: 1 none, 2 flips of x, 4 of y and x, 8 of z, y and x, and 16
            those with y and x swapped as well.
        with_image: put the translated image, channel 0 of the network, before the maps. Without it a network that has a
            method `maps` is asked for the maps alone.
        amp: mixed precision, bfloat16, on the device of the network.
        empty_below: grey value, in [-1, 1], under which a window counts as empty: if no more than a hundredth of its
            voxels reach it, the window is not given to the network and its maps are those of background, all 0. For
            objects brighter than what surrounds them. None looks at every window.
        progress: show a bar with the time left.
        sw_device: device of the network, by default that of the input.
        device: device of the maps, by default that of the input.
        as_bytes: give the maps as uint8, 255 times what they are, truncated, as the reference writes them.

    Raises:
        InputError: if `flips` is not one of the numbers above, a padding is negative or `mode` is unknown.
    """

    def __init__(
        self,
        representation: Representation,
        roi_size: Sequence[int] = (33, 257, 257),
        sw_batch_size: int = 1,
        overlap: Sequence[float] | float = 0.5,
        mode: str = "gaussian",
        sigma_scale: Sequence[float] | float = 0.1,
        padding: Sequence[int] | int = (4, 16, 16),
        flips: int = 1,
        with_image: bool | str = False,
        progress: bool = True,
        scale: Sequence[float] = (1.0, 1.0, 1.0),
        amp: bool | str = False,
        empty_below: float | None = None,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        as_bytes: bool | str = False,
        training_voxel_size: Sequence[float] | None = None,
        plan: str | None = None,
    ) -> None:
        """See the class."""
        super().__init__(roi_size, sw_batch_size, overlap, sw_device=sw_device, device=device, progress=progress)
        if mode not in MODES:
            raise InputError(f"blending is {mode}; expected one of {', '.join(MODES)}")
        self.mode, self.sigma_scale = mode, sigma_scale  # type: ignore[assignment]
        if flips not in FLIPS:
            raise InputError(f"flips is {flips}; expected one of {', '.join(map(str, FLIPS))}")
        self.padding: tuple[int, ...] = ensure_tuple_rep(padding, 3)
        if min(self.padding) < 0:
            raise InputError(f"padding is {tuple(self.padding)}; expected voxels (z, y, x), none of them negative")
        self.representation = representation
        self.scale, self.training_voxel_size = checked_scale(scale), training_voxel_size
        self.voxel_factor, self.plan = 1.0, plan
        self.flips = flips
        self.with_image, self.amp = flag(with_image, "with_image"), flag(amp, "amp")
        self.empty_below = empty_below
        self.as_bytes = flag(as_bytes, "as_bytes")

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """Predict the maps of whole volumes.

        Args:
            inputs: images (B, 1, Z, Y, X) as the network expects them, in [-1, 1].
            network: windows (b, 1, z, y, x) to logits (b, 1 + M, z, y, x); its train / eval mode is left alone.
            args: passed to the network.
            kwargs: passed to the network, but `device` overrides that of the constructor.

        Returns:
            Maps (B, M, Z, Y, X), or (B, 1 + M, Z, Y, X) with the image first, float32 in [0, 1] or bytes; a MetaTensor
            if `inputs` is one, whose metadata have `scale`, (B, 3), and `voxel_factor`, (B), of `for_voxel_size`.

        Raises:
            InputError: if `inputs` is no batch of one-channel volumes, the network returns another shape, or the voxel
                size is more than 20 times training's.
        """
        check_images(inputs)
        own = for_images(self, inputs)
        device = torch.device(kwargs.pop("device", self.device) or inputs.device)
        predict = own.predictor(network, *args, **kwargs)
        with reused_memory(), short_waits_beside_others():
            volumes = convert_data_type(inputs, torch.Tensor)[0][:, 0]
            found = [own._maps(volume, predict, device) for volume in volumes]
        maps = found[0][None] if len(found) == 1 else torch.stack(found)
        result: torch.Tensor = convert_to_dst_type(maps, inputs, dtype=maps.dtype, device=maps.device)[0]
        if isinstance(result, MetaTensor):
            result.meta.update({} if own.plan is None else {"plan": [own.plan] * len(result)})
            result.meta["scale"] = torch.tensor([own.scale] * len(result), dtype=torch.float64)
            result.meta["voxel_factor"] = torch.tensor([own.voxel_factor] * len(result), dtype=torch.float64)
        return result

    def windows(self, shape: Sequence[int]) -> WindowGrid:
        """Return the windows of a volume (Z, Y, X), in voxels of it after padding; none is larger than that."""
        padded = [n + 2 * p for n, p in zip(shape, self.padding, strict=True)]
        sides = [round(n / factor) for n, factor in zip(ensure_tuple_rep(self.roi_size, 3), self.scale, strict=True)]
        size = [min(side, n) if side and side > 0 else n for side, n in zip(sides, padded, strict=True)]
        return WindowGrid.of(padded, size, ensure_tuple_rep(self.overlap, 3))

    def predictor(self, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., torch.Tensor]:
        """Return what gives the maps of windows, (b, 1, z, y, x) in [-1, 1] to (b, M, z, y, x) in [0, 1], unblended.

        Args:
            network: as for calling this.
            args: passed to the network.
            kwargs: passed to the network.
        """
        forward = self._forward(network, *args, **kwargs)
        return lambda batch: self._predict(batch, forward)

    def _maps(self, volume: torch.Tensor, predict: Callable[..., torch.Tensor], device: torch.device) -> torch.Tensor:
        """Maps of a volume (Z, Y, X)."""
        maps = self._empty(volume.shape, device)
        inner = [slice(p, p + n) for p, n in zip(self.padding, volume.shape, strict=True)]
        total = len(self.windows(volume.shape).overlapping(inner))
        with tqdm(total=total, desc="maps", unit="window", disable=not self.progress) as bar:

            def counted(batch: torch.Tensor) -> torch.Tensor:
                found = predict(batch)
                bar.update(len(batch))
                return found

            for _ in self._fill(maps, volume, counted, tuple(slice(0, n) for n in volume.shape)):
                pass
        return maps

    def _empty(self, shape: Sequence[int], device: torch.device) -> torch.Tensor:
        """Maps (M, Z, Y, X) to be filled."""
        channels, dtype = (
            self.representation.channels + self.with_image,
            torch.uint8 if self.as_bytes else torch.float32,
        )
        return torch.empty((channels, *shape), dtype=dtype, device=device)

    def _fill(
        self, maps: torch.Tensor, volume: torch.Tensor, predict: Callable[..., torch.Tensor], box: tuple[slice, ...]
    ) -> Iterator[int]:
        """Write the maps of a box of a volume, (M, z, y, x); yields how many planes were finished."""
        where = self.sw_device or volume.device
        part = PartInferer(self, predict, volume.shape, lambda window: window, where, predict)
        source = volume[part.source(box)].float().cpu().numpy()
        for planes, unit in part.planes(source, box):
            maps[:, planes] = (unit.mul_(255) if self.as_bytes else unit).to(maps)
            yield unit.shape[1]

    def _predict(self, batch: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Maps of a batch of windows, those that are empty left out."""
        busy = self._busy(batch)
        if not busy.any():
            return batch.new_zeros(len(batch), self.representation.channels + self.with_image, *batch.shape[2:])
        small = resized(batch if busy.all() else batch[busy], scaled_shape(batch.shape[2:], self.scale))
        maps = resized(self._average(small, network), batch.shape[2:])
        if busy.all():
            return maps
        everything = maps.new_zeros(len(batch), *maps.shape[1:])
        everything[busy] = maps
        return everything

    def _busy(self, batch: torch.Tensor) -> torch.Tensor:
        if self.empty_below is None:
            return torch.ones(len(batch), dtype=torch.bool, device=batch.device)
        return (batch >= self.empty_below).float().mean((1, 2, 3, 4)) > 0.01

    def _average(self, batch: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Mean over the orientations; always a new tensor."""
        total = torch.zeros((), device=batch.device)
        for turn in orientations(self.flips):
            oriented = orient(batch, turn)
            total = total + restore(self._activate(network(oriented)), turn)
        return total / self.flips

    def _forward(self, network: Any, *args: Any, **kwargs: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        """What gives the logits of windows, those of the image among them only if there is no way to leave them out."""
        alone = None if self.with_image else getattr(network, "maps", None)
        maps = self.representation.channels

        def forward(windows: torch.Tensor) -> torch.Tensor:
            with torch.autocast(windows.device.type, torch.bfloat16, enabled=self.amp):
                logits = (alone or network)(windows, *args, **kwargs)
            if tuple(logits.shape) != (len(windows), maps + (alone is None), *windows.shape[2:]):
                raise InputError(
                    f"the network returned {tuple(logits.shape)} for windows {tuple(windows.shape)}; expected "
                    f"{1 + maps} channels of the same size: the translated image and {maps} maps"
                )
            return logits.float()  # half precision ends here: 8 bits of mantissa would show in the blended maps

        return forward

    def _activate(self, logits: torch.Tensor) -> torch.Tensor:
        unit = self.representation.to_unit(self.representation.activate(logits[:, -self.representation.channels :]))
        return torch.cat([(torch.tanh(logits[:, :1]) + 1) / 2, unit], dim=1) if self.with_image else unit
