"""Extent of a change on one axis of a feature map, and how far a sliding window carries it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]


class Span(NamedTuple):
    """Interval for each of N edited images, all of one size, on the rows or the columns of a map."""

    start: Index  # (N,)
    size: int

    @property
    def stop(self) -> Index:
        return self.start + self.size

    @staticmethod
    def covering(start: Index, stop: Index, length: int) -> Span:
        """Intervals of one size, inside 0 <= i < length, that cover start <= i < stop.

        The size is that of the longest; near a border a shorter one is moved inwards. What it holds beyond its own
        need is recomputed to the same numbers, so a common size costs a little work and no exactness.
        """
        start, stop = np.clip(start, 0, length), np.clip(stop, 0, length)
        size = max(1, int((stop - start).max()))
        return Span(np.minimum(start, length - size), size)

    def joined(self, other: Span, length: int) -> Span:
        """The shortest intervals of one size that cover both."""
        return Span.covering(np.minimum(self.start, other.start), np.maximum(self.stop, other.stop), length)

    def shifted(self, by: int) -> Span:
        return Span(self.start + by, self.size)

    def equals(self, other: Span) -> bool:
        return self.size == other.size and bool((self.start == other.start).all())


class Window(NamedTuple):
    """A convolution's or a pooling's window on one axis.

    padding  input                    extent = dilation * (kernel - 1) + 1
      . .  a b c d e f g              output o reads the inputs
     [o-----------]                   o * stride - padding + dilation * (0 ... kernel - 1)
         [o + 1-------]
    """

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def extent(self) -> int:
        return self.dilation * (self.kernel - 1) + 1

    def outputs(self, changed: Span, length: int) -> Span:
        """Outputs, of `length`, that read a changed input."""
        first = -((self.extent - 1 - self.padding - changed.start) // self.stride)  # rounded up
        last = (changed.stop - 1 + self.padding) // self.stride
        return Span.covering(first, last + 1, length)

    def inputs(self, outputs: Span) -> Span:
        """Inputs that these outputs read; may reach into the padding."""
        return Span(outputs.start * self.stride - self.padding, (outputs.size - 1) * self.stride + self.extent)

    def margin(self, inputs: int, outputs: int) -> tuple[int, int]:
        """Padding before and after `inputs` values, such that the last of `outputs` windows is complete."""
        needed = (outputs - 1) * self.stride + self.extent
        return self.padding, max(0, needed - self.padding - inputs)
