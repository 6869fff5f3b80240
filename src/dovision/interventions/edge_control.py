"""Painted regions in other versions: with a soft edge, their frame alone, half-blended, or moved elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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

Share = npt.NDArray[np.float32]  # of the fill in each pixel of a region, in [0, 1], shape (h, w)


class Version:
    """Unit of a painting intervention as it is: its region, and the share of the fill in each pixel of it."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share

    def region(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Box | None:
        """Box that the version can touch; None is the whole value."""
        return first.first.region(shape, unit, sample)

    def shares(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Share:
        """Share of the fill in each pixel of the region."""
        return first.inside(shape, unit, sample).astype(np.float32) * np.float32(self.share)


class SoftEdge(Version):
    """Mask smoothed by a Gaussian of standard deviation `sigma`, in pixels; it reaches further than the region."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def region(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Box | None:
        box = super().region(first, shape, unit, sample)
        if box is None or not box.area or not self.sigma:
            return box
        rim = int(CUT * self.sigma + 0.5)
        return geometry.clip(Box(box.top - rim, box.left - rim, box.bottom + rim, box.right + rim), *shape[-2:])

    def shares(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Share:
        inside = self._hard(first, shape, unit, sample)
        if not self.sigma:
            return inside.astype(np.float32)
        whole, box = np.zeros(shape[-2:]), first.first.region(shape, unit, sample)
        around = self.region(first, shape, unit, sample)
        assert box is not None
        assert around is not None
        whole[box.slices] = inside
        down = gaussian_weights(self.sigma, around.top, around.bottom, shape[-2]).numpy()
        across = gaussian_weights(self.sigma, around.left, around.right, shape[-1]).numpy()
        shares: Share = (down @ whole @ across.T).clip(0, 1).astype(np.float32)
        return shares

    def _hard(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Mask:
        return first.inside(shape, unit, sample)


class Frame(SoftEdge):
    """The outermost `width` pixels of the mask, with edges as soft as those of the unit; none of what is all frame."""

    def __init__(self, width: int, sigma: float = 0.0) -> None:
        super().__init__(sigma)
        self.width = width

    def region(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Box | None:
        box = super().region(first, shape, unit, sample)
        matched = MATCHED_CONTROL in first.first.units(shape)[unit]  # which needs no control in turn
        if box is None or not box.area or matched:
            return None if box is None else NO_REGION
        return box if self._eroded(first.inside(shape, unit, sample)).any() else NO_REGION

    def _hard(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Mask:
        inside = first.inside(shape, unit, sample)
        return inside & ~self._eroded(inside)

    def _eroded(self, inside: Mask) -> Mask:
        eroded: Mask = ndimage.binary_erosion(inside, np.ones((3, 3), bool), self.width)
        return eroded


class Elsewhere(Version):
    """Mask moved to a uniformly random place where it overlaps neither itself nor, if there is room, a known object."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def region(self, first: Repaint, shape: Shape, unit: int, sample: int) -> Box | None:
        box = first.first.region(shape, unit, sample)
        if box is None or not box.area:
            return box
        inside = first.inside(shape, unit, sample)
        used = np.zeros(shape[-2:], bool)
        used[box.slices] = inside
        objects = used.copy()
        for obj in first.objects.get(sample, []):
            objects[obj.slices] = True
        for taken in (objects, used):
            if len(corners := geometry.mask_places(inside, taken)):
                drawn = torch.randint(len(corners), (), generator=generator(self.seed, sample, unit))
                top, left = corners[int(drawn)].tolist()
                return Box(top, left, top + box.height, left + box.width)
        return NO_REGION


class Repaint(FirstOfTwo):
    """Units of another intervention in several versions, of which all but a half-blended one need regions and a fill.

    Args:
        first: whose units they are.
        versions: by what is added to the name of a unit; all units of a version come before those of the next.
        only: names of the units by sample, others touch nothing; None: all.
    """

    def __init__(
        self,
        first: Intervention,
        versions: Mapping[str, Version],
        only: Mapping[int, Collection[str]] | None = None,
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
        return version.region(self, shape, number, sample)

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask | None:
        version, number = self.version(shape, unit)
        region = self.region(shape, unit, sample)
        if region is None or not region.area or not paints(self.first):
            return None if region is None else np.ones((region.height, region.width), bool)
        return version.shares(self, shape, number, sample) > 0

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape, samples = tuple(value.shape[1:]), context.batch.sample.tolist()
        version, number = self.version(shape, unit)
        region = self.region(shape, unit, samples[0])
        old = value if region is None else region.crop(value)
        if region is None or not paints(self.first):
            return torch.lerp(old, self.first.do(value, number, context), version.share)
        shares = np.stack([version.shares(self, shape, number, sample) for sample in samples])
        new = self.first.fill(value, region, context)  # type: ignore[attr-defined]  # of one that paints
        return torch.lerp(old, new.to(old.dtype), torch.from_numpy(shares).to(old).unsqueeze(1))

    def version(self, shape: Shape, unit: int) -> tuple[Version, int]:
        """Version of a unit, and the number of the first intervention's unit."""
        chosen = self._chosen(shape)
        return [*self.versions.values()][unit // len(chosen)], chosen[unit % len(chosen)]

    def inside(self, shape: Shape, unit: int, sample: int) -> Mask:
        """Pixels of a unit of the first intervention in its region, shape (h, w)."""
        region = self.first.region(shape, unit, sample)
        assert region is not None
        mask = self.first.mask(shape, unit, sample)
        return np.ones((region.height, region.width), bool) if mask is None else mask

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
        |######|  r0c0  |#    #|  r0c0 frame, of one pixel
        |######|        |######|
        +------+        +------+

    An effect of r0c0 that r0c0 frame has as well is one of the edge that painting draws, not of the content it hides.

    Args:
        first: an intervention that paints: PixelGrid, SlidingWindow, RegionBox, Segments, MaskFiles, Brush.
        frame: width of the frame, in pixels; 0: no frames.
        soft: standard deviation of a Gaussian by which the regions' edges are smoothed, in pixels; 0: hard edges.

    Example:
        >>> classifier, digits = dv.example()
        >>> edges = dv.EdgeControl(dv.PixelGrid(1, 2), frame=1)
        >>> dv.effect_map(classifier, digits.image, edges).units
        ('r0c0', 'r0c1', 'r0c0 frame', 'r0c1 frame')
    """

    def __init__(self, first: Intervention, frame: int = 2, soft: float = 0.0) -> None:
        self.frame = checks.count("frame", frame, checks.MOST_IMAGES)
        self.soft = checks.within("soft", soft, 0, checks.MOST_IMAGES, "It is in pixels.")
        frames = {FRAME: Frame(self.frame, self.soft)} if self.frame else {}
        super().__init__(first, {"": SoftEdge(self.soft), **frames})

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
