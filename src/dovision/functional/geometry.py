"""Grid cells, windows, boxes and masks, and boxes carried along with images: pure functions on whole pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dovision.types import COVER, Box, Mask, Resize, Shape


def grid_cell(shape: Shape, unit: int, rows: int, columns: int) -> Box:
    """The cell of a rows x columns grid, numbered row by row; cells differ by at most one pixel in size.

    Raises:
        ValueError: the grid is finer than the image.
    """
    _, height, width = shape
    if rows > height or columns > width:
        raise ValueError(
            f"a grid must have at most {height} rows and {width} columns on a {height} x {width} image, "
            f"got {rows} x {columns}. Lower rows and columns."
        )
    r, c = divmod(unit, columns)
    return Box(r * height // rows, c * width // columns, (r + 1) * height // rows, (c + 1) * width // columns)


def cell_edges(length: int, cells: int) -> npt.NDArray[np.int64]:
    """Edges of `grid_cell` along one side of an image, in pixels: the starts, then the end of the last cell."""
    return np.arange(cells + 1) * length // cells


def clip(box: Box, height: int, width: int) -> Box:
    """Intersection of a box and an image; an empty box if there is none."""
    top, bottom = (min(max(edge, 0), height) for edge in (box.top, box.bottom))
    left, right = (min(max(edge, 0), width) for edge in (box.left, box.right))
    return Box(top, left, max(top, bottom), max(left, right))


def places(height: int, width: int, shape: Shape, taken: Iterable[Box]) -> npt.NDArray[np.int64]:
    """Positions in an image of `shape` where a box of this size overlaps no taken box.

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
    """Aspect-preserving resize, and the window to crop afterwards."""

    source: tuple[int, int]  # height and width of the image as it was
    resized: tuple[int, int]  # height and width after the resize
    window: Box  # of the resized image


def central_fit(height: int, width: int, shape: Shape, resize: Resize = COVER) -> Fit:
    """Resize, by default just large enough to cover an image of `shape`, then take its centre."""
    _, rows, columns = shape
    size = resize.size or 0
    scale = max(rows / height, columns / width, size / min(height, width))
    resized = max(rows, round(height * scale)), max(columns, round(width * scale))
    if resize.mode == "stretch":
        resized = max(rows, size), max(columns, size)
    top, left = (resized[0] - rows) // 2, (resized[1] - columns) // 2
    return Fit((height, width), resized, Box(top, left, top + rows, left + columns))


def fit_box(box: Box, fit: Fit) -> Box:
    """Box of the source after the fit, to the nearest pixel; empty if it was cropped away."""
    down, across = (new / old for new, old in zip(fit.resized, fit.source, strict=True))
    top, bottom = (round(edge * down) - fit.window.top for edge in (box.top, box.bottom))
    left, right = (round(edge * across) - fit.window.left for edge in (box.left, box.right))
    return clip(Box(top, left, bottom, right), fit.window.height, fit.window.width)


def mask_fits(mask: Sequence[int], source: Sequence[int], shape: Shape) -> bool:
    """Return whether a mask fits an image: same aspect at any resolution, or the size after the fit.

    Args:
        mask, source: height and width of the mask, and of the image as it was.
        shape: of the image that is made of it, (C, H, W).
    """
    return tuple(mask) == shape[1:] or _have_one_aspect(mask, source)


def _have_one_aspect(mask: Sequence[int], source: Sequence[int]) -> bool:
    """Return whether two sizes, height and width, differ in scale alone, to a pixel."""
    return abs(mask[0] * source[1] / source[0] - mask[1]) <= 1


def fit_mask(mask: Mask, source: Sequence[int], shape: Shape, resize: Resize = COVER) -> Mask:
    """Apply `central_fit` to a mask of the source image, by nearest neighbour; shape (H, W).

    One that has this shape already is left as it is, unless it has the aspect of the source, (height, width).
    """
    if mask.shape == shape[1:] and not _have_one_aspect(mask.shape, source):
        return mask
    fit = central_fit(mask.shape[0], mask.shape[1], shape, resize)
    down, across = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(fit.resized, fit.source, strict=True)
    )
    rows, columns = fit.window.slices
    return mask[np.ix_(down[rows], across[columns])]


def windows(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """Start and end of each window that slides along one side of an image, in pixels; the last one is cut off there.

    Raises:
        ValueError: the window is longer than the side.
    """
    if window > length:
        raise ValueError(f"window must fit into the image, got {window} pixels on a side of {length}.")
    count = 1 + -((window - length) // stride)
    return [(step * stride, min(step * stride + window, length)) for step in range(count)]


def mask_places(mask: Mask, taken: Mask) -> npt.NDArray[np.int64]:
    """Positions in an image where a mask overlaps no taken pixel.

    Args:
        mask: shape (h, w), True in its first and last row and column somewhere.
        taken: shape (H, W).

    Returns:
        Top and left edges, shape (N, 2), row by row.
    """
    room = mask.shape[0] <= taken.shape[0] and mask.shape[1] <= taken.shape[1] and mask.sum() <= (~taken).sum()
    if not room:
        return np.empty((0, 2), dtype=np.int64)
    spectrum = np.fft.rfft2(taken) * np.fft.rfft2(mask, taken.shape).conj()
    overlap = np.fft.irfft2(spectrum, taken.shape)  # pixels, but for rounding, of the mask moved by so much
    height, width = mask.shape
    return np.argwhere(overlap[: len(overlap) - height + 1, : overlap.shape[1] - width + 1] < 0.5)


def least_overlapping_shifts(mask: Mask, slack: float = 0.01) -> npt.NDArray[np.int64]:
    """Cyclic shifts with the least overlap of a mask with itself, within a share `slack` of its pixels.

    What leaves the image on one side comes back on the other, so that the area stays and any mask can be moved.

    Args:
        mask: shape (H, W).
        slack: in [0, 1].

    Returns:
        Rows and columns to move by, as of `numpy.roll`, shape (N, 2), N at least 1.
    """
    spectrum = np.fft.rfft2(mask)
    overlap = np.rint(np.fft.irfft2(spectrum * spectrum.conj(), mask.shape))
    return np.argwhere(overlap <= overlap.min() + slack * mask.sum())


def orientations(mask: Mask) -> list[Mask]:
    """Distinct flips and quarter turns of a mask, the mask itself first."""
    turned = [
        np.ascontiguousarray(np.rot90(turned_mask, turns))
        for turned_mask in (mask, np.fliplr(mask))
        for turns in range(4)
    ]
    return list({(turned_mask.shape, turned_mask.tobytes()): turned_mask for turned_mask in turned}.values())


def bounding_box(mask: Mask) -> Box:
    """The smallest box around a mask, shape (H, W); an empty box if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1) if len(rows) else Box(0, 0, 0, 0)


def paint(
    height: int,
    width: int,
    boxes: Sequence[Box | None],
    values: Sequence[float],
    masks: Sequence[Mask | None] | None = None,
) -> npt.NDArray[np.float64]:
    """Paint each value on its box, shape (height, width); the mean where boxes overlap, zero where there is none.

    Args:
        height, width: of the image, pixels.
        boxes: inside the image, in pixels; a value without a box is left out.
        values: one a box.
        masks: of each box the pixels that are meant, of the box's size; None: all.
    """
    total, count = np.zeros((2, height, width))
    for box, value, mask in zip(boxes, values, masks or [None] * len(boxes), strict=True):
        if box is not None:
            meant = box.slices if mask is None else _pixels(box, mask)
            total[meant] += value
            count[meant] += 1
    return total / np.maximum(count, 1)


def stack(
    height: int,
    width: int,
    boxes: Sequence[Box],
    values: Sequence[float],
    background: float,
    masks: Sequence[Mask | None] | None = None,
) -> npt.NDArray[np.float64]:
    """Stack each value on its box; where boxes overlap the smallest is on top, the background where there is none.

    For display: a box around several others hides none of them, and changes none of their values. Arguments and result
    are those of `paint`.
    """
    painted = np.full((height, width), background)
    shown = list(zip(boxes, values, masks or [None] * len(boxes), strict=True))
    for box, value, mask in sorted(shown, key=lambda item: -(item[0].area if item[2] is None else item[2].sum())):
        painted[box.slices if mask is None else _pixels(box, mask)] = value
    return painted


def _pixels(box: Box, mask: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of a mask's pixels in the image that its box lies in."""
    rows, columns = mask.nonzero()
    return rows + box.top, columns + box.left
