"""Painting over a window that slides across the image."""

from __future__ import annotations

from dovision import checks
from dovision.functional import geometry
from dovision.interventions.fills import Fill, Painting
from dovision.interventions.pixel_grid import BLACK
from dovision.types import Box, Shape


class SlidingWindow(Painting):
    """do(window = fill) on square windows of the image that may overlap.

        +--r0c0--+
        |   +----|---+      the next window is `stride` pixels further on;
        +---|----+   |      the last one in a row or column ends at the image's border
            +--r0c1--+

    Units are numbered row by row. In a map of effects a pixel has the mean of all windows on it.

    Args:
        window: side of a window, in pixels.
        stride: from window to window, in pixels; at most `window`, so that no pixel is left out.
        fill: what a window is painted with.

    Source: Zeiler and Fergus, arXiv:1311.2901.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.effect_map(classifier, digits.image, dv.SlidingWindow(4, stride=4)).units
        ('r0c0', 'r0c1', 'r1c0', 'r1c1')
    """

    def __init__(self, window: int, stride: int, fill: Fill = BLACK) -> None:
        self.window = checks.positive_int("window", window)
        self.stride = checks.bounded("stride", stride, 1, window)
        self.fill = fill

    def units(self, shape: Shape) -> tuple[str, ...]:
        rows, columns = (len(windows) for windows in self._windows(shape))
        return tuple(f"r{r}c{c}" for r in range(rows) for c in range(columns))

    def region(self, shape: Shape, unit: int, sample: int) -> Box:
        rows, columns = self._windows(shape)
        (top, bottom), (left, right) = rows[unit // len(columns)], columns[unit % len(columns)]
        return Box(top, left, bottom, right)

    def _windows(self, shape: Shape) -> list[list[tuple[int, int]]]:
        """Start and end of the windows, from top to bottom and from left to right."""
        return [geometry.windows(length, self.window, self.stride) for length in shape[1:]]
