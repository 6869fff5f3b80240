"""The mean difference of pairs, such as two explainers or two detectors on the same images, with its interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dovision.functional.estimates import of_images
from dovision.functional.intervals import LEVEL, UNBOUNDED, Bounds, Number, mean_interval, mean_p_value

WITHOUT_DIFFERENCE = {
    **dict.fromkeys((f"difference{end}" for end in ("", "_low", "_high", "_reason")), np.nan),
    "pairs": 0,
}


class PairedDifference(NamedTuple):
    """Mean difference over groups, the number of pairs, and the two-sided p-value of "the mean is 0"."""

    interval: Number
    pairs: int
    p: float

    def columns(self) -> dict[str, Any]:
        """Columns difference, difference_low, difference_high, difference_reason (no interval) and pairs."""
        return {**self.interval.columns("difference"), "pairs": self.pairs}


def paired_difference(
    difference: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    samples: npt.NDArray[np.int64],
    level: float = LEVEL,
    resolution: float = 0.0,
    bounds: Bounds = UNBOUNDED,
) -> PairedDifference:
    """Mean over groups of each group's mean difference; nan with too few images.

    Args:
        difference: of each pair, shape (N,); nan where one of the two has no number.
        groups: group (patient) of each pair, shape (N,).
        samples: image of each pair, shape (N,).
        level: of the interval.
        resolution, bounds: as of `mean_interval`.
    """
    of_both = np.isfinite(difference)
    interval = mean_interval(difference, groups, resolution, level, bounds)
    interval = of_images(interval, len(np.unique(samples[of_both])))
    p = np.nan if np.isnan(interval.value) else mean_p_value(difference, groups)
    return PairedDifference(interval, int(of_both.sum()), p)
