"""Changed parts of feature maps, and windows cut out of the maps around them.

Below, a map is a table of pixels, shape (B, H, W, C): a window for each edited image is then one look-up of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.propagation.graph import Step
from dovision.propagation.spans import Index, Span


class Padding(NamedTuple):
    """Padding around a map, in pixels."""

    above: int = 0
    below: int = 0
    left: int = 0
    right: int = 0


NO_MARGIN = Padding()


@dataclass(frozen=True)
class Patch:
    """Region of a map that differs from the clean one in each of N edited images.

    value: shape (N, C, h, w), or (N, h, w, C) where `channel_axis` is 3.
    rows, columns: where it lies in the map of each image.
    """

    value: Tensor
    rows: Span
    columns: Span
    channel_axis: int = 1

    def chosen(self, images: Index) -> Patch:
        """Patch of a subset of the images."""
        down, across = (Span(span.start[images], span.size) for span in (self.rows, self.columns))
        return Patch(self.value[as_rows(images)], down, across, self.channel_axis)


@dataclass(eq=False)
class Background:
    """Values of the clean pass that edited images share, by step; the images are on the first axis."""

    values: dict[Step, object]
    shapes: Mapping[Step, torch.Size]  # of every tensor of the pass, also of those that were not kept
    sizes: frozenset[Step]  # the steps whose results are shapes, or follow from shapes alone
    site: Tensor  # the value that edits change
    control: Tensor  # (B, K) logits
    _framed: dict[tuple[Step, float], tuple[Tensor, Padding]] = field(default_factory=dict)

    def framed(self, step: Step, channel_axis: int, margin: Padding, fill: float) -> tuple[Tensor, Padding]:
        """A map as a table of pixels with at least this margin of `fill`, and the actual margin.

        It is made once, with the widest margin asked for; one of zeros then stands in for the value itself.
        """
        pixels, present = self._framed.get((step, fill), (None, NO_MARGIN))
        widest = Padding(*map(max, present, margin))
        if pixels is None or widest != present:
            value = self.values[step]
            assert isinstance(value, Tensor)
            pixels = F.pad(
                value.movedim(channel_axis, -1).contiguous(),
                (0, 0, widest.left, widest.right, widest.above, widest.below),
                value=fill,
            )
            self._framed[step, fill] = pixels, widest
            if fill == 0:
                bottom, right = pixels.shape[1] - widest.below, pixels.shape[2] - widest.right
                self.values[step] = pixels[:, widest.above : bottom, widest.left : right].movedim(-1, channel_axis)
        return pixels, widest


@dataclass(eq=False)
class Map:
    """A feature map of N edited images: the clean one and, if the edit reached it, what changed."""

    background: Background
    step: Step
    image: Index  # (N,) the row in the background of each edited image
    patch: Patch | None
    channel_axis: int

    @property
    def shape(self) -> torch.Size:
        """Shape of the clean value, with its first axis."""
        return self.background.shapes[self.step]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.shape[2], self.shape[3]) if self.channel_axis == 1 else (self.shape[1], self.shape[2])

    def window(self, rows: Span, columns: Span, margin: Padding = NO_MARGIN, fill: float = 0.0) -> Tensor:
        """The edited map inside a window, which may reach into a margin of `fill`; laid out as the map is."""
        patch = self.patch
        if patch is not None and patch.rows.equals(rows) and patch.columns.equals(columns):
            return patch.value
        pixels, framed = self.background.framed(self.step, self.channel_axis, margin, fill)
        window = gather(pixels, self.image, rows.shifted(framed.above), columns.shifted(framed.left))
        if patch is not None:
            value = patch.value.movedim(self.channel_axis, -1)
            paste(window, value, patch.rows.start - rows.start, patch.columns.start - columns.start)
        return window.movedim(-1, self.channel_axis)

    def full(self) -> Tensor:
        """The whole edited map of each image."""
        origin = np.zeros(len(self.image), dtype=np.int64)
        height, width = self.size
        return self.window(Span(origin, height), Span(origin, width))


def as_rows(numbers: Index) -> slice | Tensor:
    """Index of the rows of these numbers: a slice where they follow each other, which neither uploads nor copies."""
    start, stop = int(numbers[0]), int(numbers[0]) + len(numbers)
    return slice(start, stop) if (numbers == np.arange(start, stop)).all() else torch.from_numpy(numbers)


def gather(pixels: Tensor, image: Index, rows: Span, columns: Span) -> Tensor:
    """A window for each of N edited images, shape (N, h, w, C), from a table of pixels, shape (B, H, W, C).

    A table of one image, (1, H, W, C), is that of all.
    """
    images, height, width, channels = pixels.shape
    corner = (image * (images > 1) * height + rows.start) * width + columns.start
    index = _rectangles(corner, (rows.size, columns.size), width, pixels.device)
    return pixels.view(-1, channels).index_select(0, index).view(len(image), rows.size, columns.size, channels)


def paste(canvas: Tensor, value: Tensor, down: Index, right: Index) -> None:
    """Write each image's value (N, h, w, C) into its canvas (N, H, W, C), in place, at (down, right).

    What falls outside the canvas is left out.
    """
    count, height, width, channels = canvas.shape
    size = value.shape[1], value.shape[2]
    if (down == down[0]).all() and (right == right[0]).all():
        onto, inside = _overlap(int(down[0]), size[0], height), _overlap(int(right[0]), size[1], width)
        canvas[:, onto[0], inside[0]] = value[:, onto[1], inside[1]]
        return
    corner = (np.arange(count) * height + down) * width + right
    index = _rectangles(corner, size, width, canvas.device)
    table, content = canvas.view(-1, channels), value.reshape(-1, channels)
    inside = _inside(down, size[0], height)[:, :, None] & _inside(right, size[1], width)[:, None, :]
    if not inside.all():
        chosen = torch.from_numpy(np.flatnonzero(inside)).to(canvas.device)
        index, content = index[chosen], content[chosen]
    table[index] = content


def _rectangles(corner: Index, size: tuple[int, int], width: int, device: torch.device) -> Tensor:
    """Numbers of the pixels of rectangles with these corners, in maps of this width, shape (N * h * w,)."""
    rows = torch.arange(size[0], device=device)[:, None] * width
    pixel = rows + torch.arange(size[1], device=device)
    corners = torch.from_numpy(corner) if device.type == "cpu" else _uploaded(corner.tobytes(), device)
    return (corners[:, None, None] + pixel).view(-1)


@lru_cache(maxsize=1024)
@torch.inference_mode(False)
def _uploaded(numbers: bytes, device: torch.device) -> Tensor:
    """Numbers of int64 on a device; chunks of the same cells ask for the same ones."""
    return torch.frombuffer(bytearray(numbers), dtype=torch.int64).to(device)


def _overlap(offset: int, size: int, length: int) -> tuple[slice, slice]:
    """Slice of 0 <= i < length that an interval at `offset` covers, and the matching slice of the interval."""
    start, stop = max(offset, 0), max(min(offset + size, length), 0)
    stop = max(start, stop)
    return slice(start, stop), slice(start - offset, stop - offset)


def _inside(offset: Index, size: int, length: int) -> np.ndarray:
    position = offset[:, None] + np.arange(size)
    return (position >= 0) & (position < length)
