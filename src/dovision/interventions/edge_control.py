"""Painted regions in other versions: with a soft edge, their frame alone, or moved elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.functional.filters import CUT, gaussian_weights
from dovision.functional.rng import generator
from dovision.interfaces import Context, Images, Intervention
from dovision.interventions._objects import NO_REGION
from dovision.interventions.joint import FirstOfTwo
from dovision.types import FRAME, INPUT, MATCHED_CONTROL, Box, Mask, Shape

LEAST_PEAK, MOST_SOFT = 0.8, 0.3  # in the middle of a square: erf(1 / (2 * sqrt(2) * MOST_SOFT)) ** 2 = 0.82
Share = npt.NDArray[np.float32]  # of the fill in each pixel of a region, in [0, 1], shape (h, w)


class PaintedUnit(NamedTuple):
    """Unit of an intervention that paints, in one image."""

    box: Box
    inside: Mask  # the pixels of the box that are painted, shape (h, w)
    size: tuple[int, int]  # height and width of the image
    keys: tuple[int, int]  # of random draws: sample and unit
    objects: Sequence[Box]  # boxes of known objects of the image


class Version:
    """Unit of a painting intervention as it is: its region, and the share of the fill in each pixel of it."""

    def region(self, unit: PaintedUnit) -> Box:
        """Box that the version can touch."""
        return unit.box

    def shares(self, unit: PaintedUnit) -> Share:
        """Share of the fill in each pixel of the region."""
        return unit.inside.astype(np.float32)


class SoftEdge(Version):
    """Mask smoothed by a Gaussian, so that it reaches further than the region.

    Args:
        soft: standard deviation of the Gaussian as a share of the side of the largest square in the mask.
    """

    least = LEAST_PEAK  # share of the fill in the middle of a unit

    def __init__(self, soft: float) -> None:
        self.soft = soft

    def region(self, unit: PaintedUnit) -> Box:
        box = unit.box
        if not self.soft:
            return box
        rim = int(CUT * self._sigma(unit) + 0.5)
        return geometry.clip(Box(box.top - rim, box.left - rim, box.bottom + rim, box.right + rim), *unit.size)

    def shares(self, unit: PaintedUnit) -> Share:
        inside = self._hard(unit)
        if not self.soft:
            return inside.astype(np.float32)
        sigma, whole, around = self._sigma(unit), np.zeros(unit.size), self.region(unit)
        whole[unit.box.slices] = inside
        down = gaussian_weights(sigma, around.top, around.bottom, unit.size[0]).numpy()
        across = gaussian_weights(sigma, around.left, around.right, unit.size[1]).numpy()
        shares: Share = (down @ whole @ across.T).clip(0, 1).astype(np.float32)
        if shares.max() < self.least:
            raise ValueError(
                f"soft must leave a share of {self.least} of the fill in the middle of each unit, got {self.soft}, "
                f"which leaves {shares.max():.2f} in a region of {unit.box.height} x {unit.box.width} pixels. Make "
                "soft smaller, or the regions larger."
            )
        return shares

    def _hard(self, unit: PaintedUnit) -> Mask:
        return unit.inside

    def _sigma(self, unit: PaintedUnit) -> float:
        """Standard deviation in pixels."""
        depth = ndimage.distance_transform_cdt(np.pad(unit.inside, 1))  # half the largest square's side around a pixel
        return self.soft * min(2 * int(depth.max()), *unit.inside.shape)


class Frame(SoftEdge):
    """The pixels of the mask at most `width` from its edge, as soft as the unit; none of what is all frame.

    The border of the image is no edge, as painting up to it draws none.
    """

    least = 0.0

    def __init__(self, width: int, soft: float = 0.0) -> None:
        super().__init__(soft)
        self.width = width

    def region(self, unit: PaintedUnit) -> Box:
        return super().region(unit) if self._eroded(unit).any() else NO_REGION

    def _hard(self, unit: PaintedUnit) -> Mask:
        return unit.inside & ~self._eroded(unit)

    def _eroded(self, unit: PaintedUnit) -> Mask:
        box, (height, width) = unit.box, unit.size
        at_border = ((box.top == 0, box.bottom == height), (box.left == 0, box.right == width))
        padded = np.pad(unit.inside, self.width, constant_values=at_border)
        eroded: Mask = ndimage.binary_erosion(padded, np.ones((3, 3), bool), self.width)
        return eroded[self.width : -self.width, self.width : -self.width]


class Elsewhere(Version):
    """Mask moved to a uniformly random place where it overlaps neither itself nor, if there is room, a known object."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def region(self, unit: PaintedUnit) -> Box:
        used = np.zeros(unit.size, bool)
        used[unit.box.slices] = unit.inside
        objects = used.copy()
        for obj in unit.objects:
            objects[obj.slices] = True
        for taken in (objects, used):
            if len(corners := geometry.mask_places(unit.inside, taken)):
                drawn = torch.randint(len(corners), (), generator=generator(self.seed, *unit.keys))
                top, left = corners[int(drawn)].tolist()
                return Box(top, left, top + unit.box.height, left + unit.box.width)
        return NO_REGION


class Repaint(FirstOfTwo):
    """Units of another intervention in several versions, of which all but the plain one need regions and a fill.

    Args:
        first: whose units they are.
        versions: by what is added to the name of a unit; all units of a version come before those of the next.
        only: names of the units by sample, others touch nothing; None: all.
    """

    def __init__(
        self, first: Intervention, versions: Mapping[str, Version], only: Mapping[int, Collection[str]] | None = None
    ) -> None:
        super().__init__(first)
        if any(type(version) is not Version for version in versions.values()) and not paints(first):
            raise ValueError(
                "first must be an intervention that paints regions of the image, such as PixelGrid(7, 7), got "
                f"{type(first).__name__}."
            )
        self.versions = dict(versions)
        self.only = only
        self._names = None if only is None else {name for of_sample in only.values() for name in of_sample}
        self.objects: dict[int, list[Box]] = {}

    def bind(self, images: Images, split: str) -> None:
        """Bind the first intervention, and find the boxes of known objects."""
        super().bind(images, split)
        self.avoid(images.boxes(split))

    def avoid(self, boxes: pd.DataFrame) -> None:
        """Keep moved regions off boxes of known objects, rows of `Images.boxes`."""
        for sample, *edges in boxes[["sample", *Box._fields]].itertuples(index=False):
            self.objects.setdefault(int(sample), []).append(Box(*map(int, edges)))

    def units(self, shape: Shape) -> tuple[str, ...]:
        units = [self.first.units(shape)[unit] for unit in self._chosen(shape)]
        return tuple(f"{unit}{suffix}" for suffix in self.versions for unit in units)

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        version, number = self.version(shape, unit)
        if self.only is not None and self.first.units(shape)[number] not in self.only.get(sample, ()):
            return NO_REGION
        box = self.first.region(shape, number, sample)
        return box if box is None or not box.area else version.region(self._painted(box, shape, number, sample))

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask | None:
        region = self.region(shape, unit, sample)
        if region is None or not region.area or not paints(self.first):
            return None if region is None else np.ones((region.height, region.width), bool)
        return self.shares(shape, unit, sample) > 0

    def canvas(self, value: Tensor, context: Context) -> Tensor | None:
        return super().canvas(value, context) if paints(self.first) else None

    def shares(self, shape: Shape, unit: int, sample: int) -> Share:
        version, number = self.version(shape, unit)
        box: Any = self.first.region(shape, number, sample)  # of one that paints
        return version.shares(self._painted(box, shape, number, sample))

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape, samples = tuple(value.shape[1:]), context.batch.sample.tolist()
        _, number = self.version(shape, unit)
        region = self.region(shape, unit, samples[0])
        if region is None or not paints(self.first):
            return self.first.do(value, number, context)
        shares = np.stack([self.shares(shape, unit, sample) for sample in samples])
        new = self.first.fill(value, region, context)  # type: ignore[attr-defined]  # of one that paints
        old = region.crop(value)
        return torch.lerp(old, new.to(old.dtype), torch.from_numpy(shares).to(old).unsqueeze(1))

    def version(self, shape: Shape, unit: int) -> tuple[Version, int]:
        """Version of a unit, and the number of the first intervention's unit."""
        chosen = self._chosen(shape)
        return [*self.versions.values()][unit // len(chosen)], chosen[unit % len(chosen)]

    def _painted(self, box: Box, shape: Shape, unit: int, sample: int) -> PaintedUnit:
        """Unit of the first intervention, which has this region."""
        mask = self.first.mask(shape, unit, sample)
        inside = np.ones((box.height, box.width), bool) if mask is None else mask
        return PaintedUnit(box, inside, shape[-2:], (sample, unit), self.objects.get(sample, ()))  # type: ignore[arg-type]

    def _chosen(self, shape: Shape) -> Sequence[int]:
        """Numbers of the first intervention's units that some sample has."""
        units = self.first.units(shape)
        if self._names is None:
            return range(len(units))
        return [number for number, name in enumerate(units) if name in self._names]


class EdgeControl(Repaint):
    """do(u) of an intervention that paints, and beside each unit its frame alone, which shows what its edge does.

        +------+        +------+
        |######|        |######|
        |######|  r1c1  |#    #|  r1c1 frame, of one pixel
        |######|        |######|
        +------+        +------+

    A frame has no pixels along the border of the image, where painting draws no edge. An effect of r1c1 that r1c1 frame
    has as well is one of the edge that painting draws, not of the content it hides.

    Args:
        first: an intervention that paints: PixelGrid, SlidingWindow, RegionBox, Segments, MaskFiles, Brush.
        frame: width of the frame, in pixels; 0: no frames.
        soft: standard deviation of a Gaussian by which the regions' edges are smoothed, as a share of the side of the
            region, or of the largest square in a mask; 0: hard edges. At most 0.3: beyond it less than LEAST_PEAK of
            the fill is left in the middle.

    Raises:
        ValueError: soft is too large, also for a region of so few pixels that less of the fill is left.

    Example:
        >>> classifier, digits = dv.example()
        >>> edges = dv.EdgeControl(dv.PixelGrid(1, 2), frame=1)
        >>> dv.effect_map(classifier, digits.image, edges).units
        ('r0c0', 'r0c1', 'r0c0 frame', 'r0c1 frame')
    """

    def __init__(self, first: Intervention, frame: int = 2, soft: float = 0.0) -> None:
        self.frame = checks.count("frame", frame, checks.MOST_IMAGES)
        self.soft = checks.within("soft", soft, 0, MOST_SOFT, "It is a share of the side of a region.")
        frames = {FRAME: Frame(self.frame, self.soft)} if self.frame else {}
        super().__init__(first, {"": SoftEdge(self.soft), **frames})

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        version, number = self.version(shape, unit)
        matched = MATCHED_CONTROL in self.first.units(shape)[number]  # which needs no control in turn
        return NO_REGION if matched and isinstance(version, Frame) else super().region(shape, unit, sample)

    def on_image(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """Box of the unit as the first intervention has it, where maps paint it; None for frames, which no map has."""
        version, number = self.version(shape, unit)
        region = self.region(shape, unit, sample)
        if isinstance(version, Frame) and region is not None and region.area:
            return None
        return self.first.region(shape, number, sample) if self.first.mask(shape, number, sample) is None else region

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask | None:
        _, number = self.version(shape, unit)
        return None if self.first.mask(shape, number, sample) is None else super().mask(shape, unit, sample)


def paints(intervention: Intervention) -> bool:
    """True for an intervention that paints regions of the image with a fill."""
    return intervention.site == INPUT and hasattr(intervention, "fill")
