"""Differences of pairs, worked out by hand."""

import numpy as np
import pytest

from dovision.functional.intervals import mean_interval, mean_p_value
from dovision.results.paired_difference import paired_difference

DIFFERENCE = np.array([0.1, 0.3, np.nan, 0.25, 0.4, 0.0, 0.2])
GROUPS = np.array([0, 0, 1, 1, 2, 3, 3])


def test_it_is_the_mean_over_groups_of_the_pairs_that_have_both_numbers():
    found = paired_difference(DIFFERENCE, GROUPS, np.arange(7))
    assert found.interval == mean_interval(DIFFERENCE, GROUPS)
    assert found.interval.value == pytest.approx((0.2 + 0.25 + 0.4 + 0.1) / 4)
    assert (found.pairs, found.p) == (6, mean_p_value(DIFFERENCE, GROUPS))
    assert list(found.columns()) == [*(f"difference{end}" for end in ("", "_low", "_high", "_reason")), "pairs"]
