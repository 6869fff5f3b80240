"""Maps against boxes, against each other, and against true effects: pure functions on one common grid of cells.

A map is an array of cells, shape (rows, columns), positive where the image speaks for the class. Cells are those of
`geometry.grid_cell`; they differ by at most one pixel in size and count alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.types import Box, Mask

FloatArray = npt.NDArray[np.float64]

OK, ZERO, NOT_FINITE = "ok", "zero", "not finite"


def to_cells(maps: Tensor, rows: int, columns: int) -> Tensor:
    """Mean of each map over each cell, shape (B, rows, columns), from maps of shape (B, H, W).

    Raises:
        ValueError: the grid is finer than the maps.
    """
    shape = (1, *maps.shape[1:])
    cells = [geometry.grid_cell(shape, cell, rows, columns).crop(maps).mean((1, 2)) for cell in range(rows * columns)]
    return torch.stack(cells, 1).reshape(-1, rows, columns)


def coverage(boxes: Sequence[Box], height: int, width: int, rows: int, columns: int) -> FloatArray:
    """Share of each cell's pixels that lie in any of the boxes, in [0, 1], shape (rows, columns).

    Args:
        boxes: in pixels of the image; what lies outside the image does not count.
        height, width: of the image, pixels.

    Raises:
        ValueError: the grid is finer than the image.
    """
    inside = np.zeros((height, width), dtype=bool)
    for box in boxes:
        top, left, bottom, right = geometry.clip(box, height, width)
        inside[top:bottom, left:right] = True
    return mask_coverage(inside, rows, columns)


def mask_coverage(mask: Mask, rows: int, columns: int) -> FloatArray:
    """Share of each cell's pixels that lie in a mask, in [0, 1], shape (rows, columns).

    Args:
        mask: of the image, shape (H, W).

    Raises:
        ValueError: the grid is finer than the image.
    """
    height, width = mask.shape
    geometry.grid_cell((1, height, width), 0, rows, columns)  # raises if the grid is too fine
    inside = mask.astype(np.float64)
    down, across = geometry.cell_edges(height, rows), geometry.cell_edges(width, columns)
    pixels = np.add.reduceat(np.add.reduceat(inside, down[:-1], axis=0), across[:-1], axis=1)
    return pixels / np.outer(np.diff(down), np.diff(across))


def state(cells: FloatArray) -> str:
    """State of a map that is to be judged: "ok", "zero" (no positive cell) or "not finite"."""
    if not np.isfinite(cells).all():
        return NOT_FINITE
    return OK if (cells > 0).any() else ZERO


def pointing(cells: FloatArray, boxes: Sequence[Box], height: int, width: int, margin: float) -> float:
    """Pointing game: 1 if the centre of the highest cell lies in a box or at most `margin` pixels beside it, else 0.

    The mean over the highest cells where several tie; nan without boxes.

    Args:
        cells: a map, shape (rows, columns).
        boxes: in pixels of the image.
        height, width: of the image, pixels.
        margin: pixels; the source takes 15 on images of about 224.

    Source: Zhang et al., Top-down neural attention by excitation backprop, 2016, arXiv:1608.00507.
    """
    if not boxes:
        return np.nan
    highest = _highest_cells(cells, height, width)
    return float(np.mean([any(_centre_within(cell, box, margin) for box in boxes) for cell in highest]))


def mask_pointing(cells: FloatArray, mask: Mask, margin: float) -> float:
    """Pointing game as `pointing`, with a mask of shape (H, W) in place of boxes; nan where it is empty.

    A mask that is a box gives what the box gives.
    """
    if not mask.any():
        return np.nan
    rows, columns = (edge.astype(np.float64) for edge in mask.nonzero())
    pixels = Box(rows, columns, rows + 1, columns + 1)  # type: ignore[arg-type]  # all of them at once
    return float(np.mean([_centre_within(cell, pixels, margin) for cell in _highest_cells(cells, *mask.shape)]))


def energy(cells: FloatArray, coverage: FloatArray) -> float:
    """Share of the positive part of a map that lies in the boxes, in [0, 1]; nan without a positive cell or boxes.

    A uniform map has `coverage.mean()`, the share of the image that the boxes take: read one against the other.

    Args:
        cells: a map, shape (rows, columns).
        coverage: the share of each cell in the boxes, the same shape.

    Source: the energy-based pointing game of Wang et al., Score-CAM, 2020, arXiv:1910.01279.
    """
    positive = cells.clip(min=0)
    total = positive.sum()
    return float((positive * coverage).sum() / total) if total > 0 and coverage.any() else np.nan


def iou(cells: FloatArray, coverage: FloatArray) -> float:
    """Intersection over union of the boxes with the highest cells of the same area, in [0, 1]; nan without boxes.

    As many cells are chosen as the boxes have area, the last one in part; cells that tie are chosen in equal parts,
    which is the expected intersection over all their orders. So a constant map has what chance gives: with boxes on a
    share p of the image, p / (2 - p).

    Args:
        cells: a map, shape (rows, columns).
        coverage: the share of each cell in the boxes, the same shape.
    """
    wanted = coverage.sum()
    if wanted == 0:
        return np.nan
    _, rank, tied = np.unique(-cells.ravel(), return_inverse=True, return_counts=True)
    chosen_before = np.cumsum(tied) - tied
    chosen = ((wanted - chosen_before) / tied).clip(0, 1)[rank]
    shared = (chosen * coverage.ravel()).sum()
    return float(shared / (2 * wanted - shared))


def density(cells: FloatArray, coverage: FloatArray) -> float:
    """Mean of a map over the pixels of the boxes; nan without boxes."""
    area = coverage.sum()
    return float((cells * coverage).sum() / area) if area > 0 else np.nan


def removal(cells: FloatArray, steps: int) -> Mask:
    """Masks of removed cells, most relevant first, one per step, shape (steps + 1, rows, columns).

    None at step 0, all at the last one, equally many at each in between (to the nearest cell). Cells that tie go in an
    order that is random but always the same, so that a constant map does not go from top left to bottom right.
    """
    checks.positive_int("steps", steps)
    count = cells.size
    random = np.random.default_rng(0).permutation(count)
    rank = np.empty(count, np.int64)
    rank[np.lexsort((random, -cells.ravel()))] = np.arange(count)
    gone = np.rint(np.linspace(0, count, steps + 1))
    return rank.reshape(cells.shape) < gone[:, None, None]


def painted(image: Tensor, filled: Tensor, removed: Mask) -> Tensor:
    """Images of deletion, then of insertion, shape (2 * (steps + 1), C, H, W).

    A step of deletion takes the removed cells from `filled`, one of insertion the others.

    Args:
        image, filled: shape (C, H, W).
        removed: from `removal`, shape (steps + 1, rows, columns).

    Source: Petsiuk et al., RISE, 2018, arXiv:1806.07421.
    """
    checks.same_shape(image=image, filled=filled)
    _, height, width = image.shape
    _, rows, columns = removed.shape
    mask = removed[:, _cell_of_each_pixel(height, rows)][:, :, _cell_of_each_pixel(width, columns)]
    on_device = torch.from_numpy(mask).unsqueeze(1).to(image.device)
    return torch.cat([torch.where(on_device, filled, image), torch.where(on_device, image, filled)])


def area(probability: FloatArray) -> float:
    """Area under a curve of deletion or insertion over the share of cells, by trapezoids, in [0, 1].

    Args:
        probability: of the class at each step, shape (steps + 1,).
    """
    from scipy.integrate import trapezoid  # with scipy.stats half a second, which a command's answer does not wait for

    return float(trapezoid(probability, dx=1 / (len(probability) - 1)))


def spearman(a: FloatArray, b: FloatArray) -> FloatArray:
    """Spearman rank correlation along the last axis, ties at their mean rank; shapes (..., N) to (...).

    nan where one is constant or holds a nan, and everywhere if N is below 3.
    """
    from scipy.stats import rankdata  # as in `area`

    x, y = (rankdata(values, axis=-1) for values in (a, b))
    x, y = (ranks - ranks.mean(-1, keepdims=True) for ranks in (x, y))
    size = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    defined = (size > 0) & (a.shape[-1] >= 3)
    return np.divide((x * y).sum(-1), size, out=np.full(size.shape, np.nan), where=defined)[()]


def partial_spearman(a: FloatArray, b: FloatArray, given: FloatArray) -> float:
    """Rank correlation of a and b, shape (N,), after linear adjustment for the ranks of `given`.

    nan where one of the three is constant, or where `given` ranks a or b as they are.
    """
    together, with_a, with_b = (float(spearman(*pair)) for pair in ((a, b), (a, given), (b, given)))
    left = (1 - with_a**2) * (1 - with_b**2)
    return (together - with_a * with_b) / math.sqrt(left) if left > 1e-12 else math.nan


def pooled_spearman(
    a: FloatArray, b: FloatArray, groups: npt.NDArray[np.int64], given: FloatArray | None = None
) -> FloatArray:
    """Contribution of each group, in order, to the rank correlation over all rows; its mean is the correlation.

    The numbers are the jackknife's pseudo-values, moved so that their mean is the correlation itself: their interval
    over groups, and that of paired differences, is that of the correlation.

    Args:
        a, b: shape (N,).
        groups: the group of each row, shape (N,).
        given: what is accounted for, as in `partial_spearman`, shape (N,); None: nothing.
    """

    def correlation(rows: npt.NDArray[np.bool_]) -> float:
        return float(spearman(a[rows], b[rows])) if given is None else partial_spearman(a[rows], b[rows], given[rows])

    names = np.unique(groups)
    whole = correlation(np.ones(len(groups), bool))
    without = np.array([correlation(groups != name) for name in names], np.float64)
    return whole + (len(names) - 1) * (without.mean() - without)


def _highest_cells(cells: FloatArray, height: int, width: int) -> list[Box]:
    highest = np.flatnonzero(cells == cells.max())
    return [geometry.grid_cell((1, height, width), int(cell), *cells.shape) for cell in highest]


def _centre_within(cell: Box, box: Box, margin: float) -> bool:
    """Return whether the middle of a cell lies in a box, or in one of several, whose edges are arrays."""
    y, x = (cell.top + cell.bottom) / 2, (cell.left + cell.right) / 2
    down = (box.top - margin <= y) & (y <= box.bottom + margin)
    return bool(np.any(down & (box.left - margin <= x) & (x <= box.right + margin)))


def _cell_of_each_pixel(pixels: int, cells: int) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(cells), np.diff(geometry.cell_edges(pixels, cells)))
