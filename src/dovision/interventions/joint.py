"""Edits at two sites of one forward pass."""

from __future__ import annotations

import copy
from typing import Any

import numpy.typing as npt
from torch import Tensor

from dovision.interfaces import Context, Images, Intervention
from dovision.types import INPUT, SET_JOIN, Batch, Box, Mask, Shape

HELD = "held"


class FirstOfTwo(Intervention):
    """The units of another intervention, where something is done at a second site as well.

    Args:
        first: whose units they are.
    """

    def __init__(self, first: Intervention) -> None:
        self.first = first
        if _is_compound(first):
            raise ValueError(f"first must be an intervention at one site, got {type(first).__name__}.")
        self.site, self.unit, self.layout = first.site, first.unit, first.layout

    def bind(self, images: Images, split: str) -> None:
        self.first.bind(images, split)

    def for_images(self, batch: Batch) -> Intervention:
        bound_copy = copy.copy(self)
        bound_copy.first = self.first.for_images(batch)
        bound_copy.second = None if self.second is None else self.second.for_images(batch)
        return bound_copy

    def sources(self, batch: Batch) -> Tensor | None:
        return self.first.sources(batch)

    def references(self) -> Tensor | None:
        return self.first.references()

    def canvas(self, value: Tensor, context: Context) -> Tensor | None:
        return self.first.canvas(value, context)


class Joint(FirstOfTwo):
    """do(u) at one site, do(v) at a later one, and both in one pass, such as a masked image and a silenced channel.

    Units are those of the first intervention; "held", the other one by itself; and "u+held" for each unit u, so that
    the interaction e(u, held) - e(u) - e(held) can be measured.

    Args:
        first: its units are combined, one at a time, with the other intervention.
        held: an intervention of one unit at another site, which comes later in the pass.

    Example:
        >>> classifier, digits = dv.example()
        >>> both = dv.Joint(dv.PixelGrid(2, 2), held=dv.Activation("relu", choose=[0]))
        >>> dv.effect_map(classifier, digits.image, both).units[:3]
        ('r0c0', 'r0c1', 'r1c0')
    """

    def __init__(self, first: Intervention, held: Intervention) -> None:
        super().__init__(first)
        if _is_compound(held) or held.site in (INPUT, first.site):
            raise ValueError(f"held must be an intervention at one other site of the network, got site {held.site!r}.")
        self.second = held

    def bind(self, images: Images, split: str) -> None:
        super().bind(images, split)
        assert self.second is not None
        self.second.bind(images, split)

    def units(self, shape: Shape) -> tuple[str, ...]:
        units = self.first.units(shape)
        return (*units, HELD, *(f"{unit}{SET_JOIN}{HELD}" for unit in units))

    def has_second(self, shape: Shape, unit: int) -> bool:
        return unit >= len(self.first.units(shape))

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """Region of the first intervention's unit, at its site."""
        first_unit = self._first_unit(shape, unit)
        return None if first_unit is None else self.first.region(shape, first_unit, sample)

    def on_image(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """Box of a unit of the first intervention by itself; None with the other one, which acts elsewhere."""
        return None if self.has_second(shape, unit) else super().on_image(shape, unit, sample)

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask | None:
        return None if self.has_second(shape, unit) else self.first.mask(shape, unit, sample)

    canvas = FirstOfTwo.canvas

    def shares(self, shape: Shape, unit: int, sample: int) -> npt.NDArray[Any] | None:
        return self.first.shares(shape, unit % (len(self.first.units(shape)) + 1), sample)

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape = tuple(value.shape[1:])
        first_unit = self._first_unit(shape, unit)
        if first_unit is None:
            return value
        return self.first.do(value, first_unit, context)

    def _first_unit(self, shape: Shape, unit: int) -> int | None:
        """The unit of the first intervention; None for the other one by itself."""
        count = len(self.first.units(shape))
        return None if unit == count else unit if unit < count else unit - count - 1


def _is_compound(intervention: Intervention) -> bool:
    """Return whether an intervention cannot be combined: it has two sites, or leaves out positions of a value."""
    return intervention.second is not None or intervention.shortens
