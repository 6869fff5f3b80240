"""Painting over the cells of a grid."""

from __future__ import annotations

from functools import lru_cache

from dovision import checks
from dovision.functional import geometry
from dovision.interventions.fills import Constant, Fill, Painting
from dovision.types import Box, Shape

BLACK = Constant(0.0)


class PixelGrid(Painting):
    """do(cell = fill) on a rows x columns grid of the image.

        +------+------+
        | r0c0 | r0c1 |      units are numbered row by row;
        +------+------+      cells differ by at most one pixel in size
        | r1c0 | r1c1 |
        +------+------+

    Args:
        rows, columns: of the grid; at most the image's height and width.
        fill: what a cell is painted with.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.effect_map(classifier, digits.image, dv.PixelGrid(2, 3)).units
        ('r0c0', 'r0c1', 'r0c2', 'r1c0', 'r1c1', 'r1c2')
    """

    def __init__(self, rows: int, columns: int, fill: Fill = BLACK) -> None:
        self.rows = checks.positive_int("rows", rows)
        self.columns = checks.positive_int("columns", columns)
        checks.positive_int("rows * columns", rows * columns, checks.MOST_CELLS)
        self.fill = fill

    def units(self, shape: Shape) -> tuple[str, ...]:
        return _names(self.rows, self.columns)

    def region(self, shape: Shape, unit: int, sample: int) -> Box:
        return geometry.grid_cell(shape, unit, self.rows, self.columns)


@lru_cache(maxsize=16)
def _names(rows: int, columns: int) -> tuple[str, ...]:
    return tuple(f"r{row}c{column}" for row in range(rows) for column in range(columns))
