"""Painting over masks of an image, and over the same shapes elsewhere: the base of interventions on masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.functional.rng import generator
from dovision.interfaces import Context, Images
from dovision.interventions._objects import NO_REGION
from dovision.interventions.fills import Fill, Painting
from dovision.types import MATCHED_CONTROL, Box, Mask, Shape

_CACHED = 1024  # samples whose masks are kept, since each unit and each condition asks for them


class PlacedMask(NamedTuple):
    """Box with the pixels of a mask in it."""

    box: Box
    mask: Mask


NOWHERE = PlacedMask(NO_REGION, np.zeros((0, 0), dtype=bool))


class MaskIntervention(Painting):
    """do(mask = fill) on an image's masks, and on control masks of equal area and shape.

    A subclass gives the names of the masks, and the masks of a sample. For each name there are the units NAME,
    "NAME control 0", "NAME control 1", ... A control has the mask's own shape and lies at a uniformly random place
    inside the image where it overlaps neither a mask nor a known object of the image; if there is none, neither its own
    mask nor a known object; if there is none either, not its own mask. Where the shape fits nowhere as it is, it is
    flipped and turned by right angles. If it fits nowhere even so, there is no control.

    Args:
        fill: what a mask is painted with. It sees the box around the mask, whose surroundings span the surface of
            `Inpaint`.
        controls: how many control masks a mask has.
        seed: of the controls' places; the same seed and sample give the same places.
        wrap: where a control fits nowhere, as that of both lungs, move it around the edges of the image, to one of the
            places where it overlaps its own mask least.
    """

    outside: str | None = None  # name of a mask of all that is in no other one, which takes no room, without controls

    def __init__(self, fill: Fill, controls: int, seed: int, wrap: bool = False) -> None:
        self.wrap = wrap
        self.fill = fill
        number = checks.count("controls", controls, checks.MOST_CONTROLS)
        self.suffixes = ("", *(f"{MATCHED_CONTROL}{control}" for control in range(number)))
        self.seed = checks.seed(seed)
        self._objects: dict[int, list[Box]] = {}
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the cache, which cannot be pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_placed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the masks, of all images together."""

    @abstractmethod
    def masks(self, sample: int) -> Mapping[str, Mask]:
        """Masks of a sample by name, each of its image's shape (H, W); absent masks are left out."""

    def bind(self, images: Images, split: str) -> None:
        """Find the boxes of known objects, which controls avoid."""
        boxes = images.boxes(split)
        self._objects = {}
        for sample, *edges in boxes[["sample", *Box._fields]].itertuples(index=False):
            self._objects.setdefault(int(sample), []).append(Box(*map(int, edges)))
        self._forget()

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(f"{name}{suffix}" for name in self.names() for suffix in self.suffixes)

    def region(self, shape: Shape, unit: int, sample: int) -> Box:
        return self._placed(shape, sample).get(unit, NOWHERE).box

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask:
        return self._placed(shape, sample).get(unit, NOWHERE).mask

    canvas = Painting.canvas

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape, samples = tuple(value.shape[1:]), context.batch.sample.tolist()
        region = self.region(shape, unit, samples[0])
        meant = torch.from_numpy(np.stack([self.mask(shape, unit, sample) for sample in samples])).to(value.device)
        return torch.where(meant.unsqueeze(1), self.fill(value, region, context), region.crop(value))

    def _forget(self) -> None:
        """Reset the cache of masks; each copy of the intervention needs its own."""
        self._placed = lru_cache(_CACHED)(self._placed_masks)

    def _placed_masks(self, shape: Shape, sample: int) -> dict[int, PlacedMask]:
        """The masks of a sample and their controls, by unit."""
        masks = {
            name: mask
            for name, mask in self.masks(sample).items()
            if checks.mask(f"{type(self).__name__}.masks(): {name!r}", mask, shape[1:]).any()
        }
        placed: dict[int, PlacedMask] = {}
        names = self.names()
        for name, mask in masks.items():
            number, box = names.index(name), geometry.bounding_box(mask)
            placed_mask = PlacedMask(box, np.ascontiguousarray(mask[box.slices]))
            several = [placed_mask]
            if name != self.outside:
                inside = {other: mask_inside for other, mask_inside in masks.items() if other != self.outside}
                controls = list(
                    self._controls((sample, number), placed_mask.mask, self._taken(shape, sample, mask, inside))
                )
                several += controls or (self._wrapped((sample, number), mask) if self.wrap and not mask.all() else [])
            placed |= {number * len(self.suffixes) + control: item for control, item in enumerate(several)}
        return placed

    def _taken(self, shape: Shape, sample: int, mask: Mask, masks: Mapping[str, Mask]) -> Iterator[Mask]:
        """Pixels that controls of a mask must avoid, relaxed step by step."""
        objects = np.zeros(shape[1:], dtype=bool)
        for box in self._objects.get(sample, []):
            objects[box.slices] = True
        yield objects | np.any([*masks.values()], axis=0)
        yield objects | mask
        yield mask

    def _controls(self, keys: tuple[int, int], mask: Mask, taken: Iterator[Mask]) -> Iterator[PlacedMask]:
        wanted = len(self.suffixes) - 1
        shapes, places = _places(mask, taken) if wanted else ([], np.empty((0, 3), np.int64))
        for control in range(wanted if len(places) else 0):
            drawn = torch.randint(len(places), (), generator=generator(self.seed, *keys, control))
            number, top, left = places[int(drawn)].tolist()
            height, width = shapes[number].shape
            yield PlacedMask(Box(top, left, top + height, left + width), shapes[number])

    def _wrapped(self, keys: tuple[int, int], mask: Mask) -> Iterator[PlacedMask]:
        """Controls moved cyclically around the image's edges, each of shape (H, W)."""
        shifts = geometry.least_overlapping_shifts(mask)
        for control in range(len(self.suffixes) - 1):
            drawn = torch.randint(len(shifts), (), generator=generator(self.seed, *keys, control))
            moved = np.roll(mask, tuple(shifts[int(drawn)]), (0, 1))
            box = geometry.bounding_box(moved)
            yield PlacedMask(box, np.ascontiguousarray(moved[box.slices]))


def _places(mask: Mask, taken: Iterator[Mask]) -> tuple[list[Mask], npt.NDArray[np.int64]]:
    """Shapes and positions by the first rule that leaves room; masks are rotated only if necessary.

    Returns:
        The shapes, and for each place the shape's number, top and left edge, shape (N, 3).
    """
    shapes = geometry.orientations(mask)
    for forbidden in taken:
        for numbers in ([0], range(1, len(shapes))):
            places = [np.insert(geometry.mask_places(shapes[number], forbidden), 0, number, 1) for number in numbers]
            if any(map(len, places)):
                return shapes, np.concatenate(places)
    return shapes, np.empty((0, 3), np.int64)
