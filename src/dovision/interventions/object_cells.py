"""Units of an intervention that paints, joined: all that touch an object in one do(), and the same shape elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dovision.functional import geometry
from dovision.interfaces import Images, Intervention
from dovision.interventions._masks import MaskIntervention
from dovision.interventions._objects import known_objects, object_names
from dovision.interventions.edge_control import EdgeControl
from dovision.interventions.fills import Painting
from dovision.interventions.pixel_grid import PixelGrid
from dovision.interventions.segments import Segments
from dovision.interventions.sliding_window import SlidingWindow
from dovision.types import MATCHED_CONTROL, Box, Mask, Shape

_CONTROLS = 4  # places elsewhere


class ObjectCells(MaskIntervention):
    """do(all units that touch an object = fill), and control masks of the same area and shape.

        +---+---+---+
        |   |   |   |      The object, oo, touches three cells, which are painted at once. A set that spans the image
        +---+--oo---+      is left out: it has no elsewhere.
        |   |  o|   |
        +---+---+---+

    Args:
        painter: whose units they are, from `painter_of`.
        images, split: which know the objects.
    """

    def __init__(self, painter: Painting, images: Images, split: str) -> None:
        super().__init__(painter.fill, _CONTROLS, seed=0)
        self.painter, self.shape = painter, images.shape
        self._by_sample = known_objects(images, split)
        self.bind(images, split)

    def names(self) -> tuple[str, ...]:
        return object_names(self._by_sample)

    def masks(self, sample: int) -> Mapping[str, Mask]:
        sets = {name: self.joined(sample, self.members(sample, name)) for name in self._by_sample.get(sample, {})}
        spans = Box(0, 0, *self.shape[1:])
        return {name: mask for name, mask in sets.items() if mask.any() and geometry.bounding_box(mask) != spans}

    def members(self, sample: int, name: str) -> list[int]:
        """Numbers of the units that touch an object's box."""
        pixels = self._by_sample[sample][name].box.slices
        return [unit for unit in single(self.painter, self.shape) if self.joined(sample, [unit])[pixels].any()]

    def covered(self, sample: int, name: str) -> float:
        """Share of an object's box that its units cover."""
        pixels = self._by_sample[sample][name].box.slices
        return float(self.joined(sample, self.members(sample, name))[pixels].mean())

    def joined(self, sample: int, units: Iterable[int]) -> Mask:
        """Pixels of units of the painter, as of `joined`."""
        return joined(self.painter, self.shape, sample, units)


def painter_of(intervention: Intervention) -> Painting | None:
    """The intervention whose units tile the image, or that of a hard edge control, if it is one; None otherwise."""
    controlled = isinstance(intervention, EdgeControl) and not intervention.soft
    painter = intervention.first if controlled else intervention  # type: ignore[attr-defined]
    return painter if isinstance(painter, (PixelGrid, SlidingWindow, Segments)) else None


def object_cells(intervention: Intervention, images: Images, split: str) -> ObjectCells | None:
    """Sets of an intervention's units over the known objects of a split; None without objects or such units."""
    painter = painter_of(intervention)
    return None if painter is None or images.boxes(split).empty else ObjectCells(painter, images, split)


def single(intervention: Intervention, shape: Shape) -> list[int]:
    """Numbers of the units that are no controls."""
    return [unit for unit, name in enumerate(intervention.units(shape)) if MATCHED_CONTROL not in name]


def joined(intervention: Painting, shape: Shape, sample: int, units: Iterable[int]) -> Mask:
    """Pixels of all these units in an image, shape (H, W)."""
    pixels = np.zeros(shape[1:], bool)
    for unit in units:
        mask, region = intervention.mask(shape, unit, sample), intervention.region(shape, unit, sample)
        pixels[region.slices] |= True if mask is None else mask  # type: ignore[union-attr]  # regions of the image
    return pixels
