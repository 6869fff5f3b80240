"""Grid cells and boxes, and boxes carried along with images: pure functions on whole pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dovision.types import Box, Shape


def grid_cell(shape: Shape, unit: int, rows: int, columns: int) -> Box:
    """The cell of a rows x columns grid, numbered row by row; cells differ by at most one pixel in size.

    Raises:
        ValueError: the grid is finer than the image.
    """
    _, height, width = shape
    if rows > height or columns > width:
        raise ValueError(
            f"a grid must have at most {height} rows and {width} columns on a {height} x {width} image, "
            f"got {rows} x {columns}."
        )
    r, c = divmod(unit, columns)
    return Box(r * height // rows, c * width // columns, (r + 1) * height // rows, (c + 1) * width // columns)


def cell_edges(length: int, cells: int) -> npt.NDArray[np.int64]:
    """Edges of the cells of `grid_cell` along one side of an image, in pixels: all starts, and the end of the last."""
    return np.arange(cells + 1) * length // cells


def clip(box: Box, height: int, width: int) -> Box:
    """The part of a box inside an image; an empty box if there is none."""
    top, bottom = (min(max(edge, 0), height) for edge in (box.top, box.bottom))
    left, right = (min(max(edge, 0), width) for edge in (box.left, box.right))
    return Box(top, left, max(top, bottom), max(left, right))


def places(height: int, width: int, shape: Shape, taken: Iterable[Box]) -> npt.NDArray[np.int64]:
    """Each place inside an image of `shape` where a box of this size overlaps none of those that are taken.

    Returns:
        Top and left edges, shape (N, 2), row by row.
    """
    _, rows, columns = shape
    free = np.ones((max(0, rows - height + 1), max(0, columns - width + 1)), dtype=bool)
    for box in taken:
        if box.area:
            top, left = max(0, box.top - height + 1), max(0, box.left - width + 1)
            free[top : max(0, box.bottom), left : max(0, box.right)] = False
    return np.argwhere(free)


class Fit(NamedTuple):
    """A resize that keeps the aspect, and the window that is then taken."""

    source: tuple[int, int]  # height and width of the image as it was
    resized: tuple[int, int]  # height and width after the resize
    window: Box  # of the resized image


def central_fit(height: int, width: int, shape: Shape) -> Fit:
    """Resize just large enough to cover an image of `shape`, then take its centre."""
    _, rows, columns = shape
    scale = max(rows / height, columns / width)
    resized = max(rows, round(height * scale)), max(columns, round(width * scale))
    top, left = (resized[0] - rows) // 2, (resized[1] - columns) // 2
    return Fit((height, width), resized, Box(top, left, top + rows, left + columns))


def fit_box(box: Box, fit: Fit) -> Box:
    """Position of a box of the source after the fit, to the nearest pixel; empty if it was cut away."""
    down, across = (new / old for new, old in zip(fit.resized, fit.source, strict=True))
    top, bottom = (round(edge * down) - fit.window.top for edge in (box.top, box.bottom))
    left, right = (round(edge * across) - fit.window.left for edge in (box.left, box.right))
    return clip(Box(top, left, bottom, right), fit.window.height, fit.window.width)


def paint(height: int, width: int, boxes: Sequence[Box | None], values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Each value on its box; the mean where boxes overlap, zero where there is none; shape (height, width).

    Args:
        height, width: of the image, pixels.
        boxes: inside the image, in pixels; a value without a box is left out.
        values: one a box.
    """
    total, count = np.zeros((2, height, width))
    for box, value in zip(boxes, values, strict=True):
        if box is not None:
            total[box.top : box.bottom, box.left : box.right] += value
            count[box.top : box.bottom, box.left : box.right] += 1
    return total / np.maximum(count, 1)


def stack(
    height: int, width: int, boxes: Sequence[Box], values: Sequence[float], background: float
) -> npt.NDArray[np.float64]:
    """Each value on its box; where boxes overlap the smallest one is on top, the background where there is none.

    For display: a box around several others hides none of them, and changes none of their values. Arguments and result
    are those of `paint`.
    """
    painted = np.full((height, width), background)
    for box, value in sorted(zip(boxes, values, strict=True), key=lambda item: -item[0].area):
        painted[box.top : box.bottom, box.left : box.right] = value
    return painted
