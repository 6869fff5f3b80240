"""Grid cells and boxes, and boxes carried along with images: pure functions on whole pixels."""

from __future__ import annotations

from typing import NamedTuple

from dovision.contracts import Box, Shape


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


def clip(box: Box, height: int, width: int) -> Box:
    """The part of a box inside an image; an empty box if there is none."""
    top, bottom = (min(max(edge, 0), height) for edge in (box.top, box.bottom))
    left, right = (min(max(edge, 0), width) for edge in (box.left, box.right))
    return Box(top, left, max(top, bottom), max(left, right))


def intersection(a: Box, b: Box) -> Box:
    """The part that two boxes share; an empty box if they share none."""
    top, left = max(a.top, b.top), max(a.left, b.left)
    return Box(top, left, max(top, min(a.bottom, b.bottom)), max(left, min(a.right, b.right)))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 for two empty boxes."""
    shared = intersection(a, b).area
    joined = a.area + b.area - shared
    return shared / joined if joined else 0.0


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
    """Where a box of the source lies after the fit, to the nearest pixel; empty if it was cut away."""
    down, across = (new / old for new, old in zip(fit.resized, fit.source, strict=True))
    window = fit.window
    moved = Box(
        round(box.top * down) - window.top,
        round(box.left * across) - window.left,
        round(box.bottom * down) - window.top,
        round(box.right * across) - window.left,
    )
    return clip(moved, window.height, window.width)
