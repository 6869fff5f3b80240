"""Estimates from some units, against the numbers of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from dovision.functional.estimated_agreement import in_top, rank_correlation, top_overlap, weights

UNITS = 196


def test_all_units_give_the_numbers_themselves():
    random = np.random.default_rng(0)
    rough = random.normal(size=UNITS)
    exact = rough + random.normal(size=UNITS)
    ones, top = np.ones(UNITS), in_top(rough)
    assert rank_correlation(rough, exact, ones) == pytest.approx(spearmanr(rough, exact).statistic)
    assert top_overlap(top, exact, ones) == pytest.approx((top & in_top(exact)).sum() / 20)


def test_few_units_give_them_on_average():
    random = np.random.default_rng(1)
    found, known = [], []
    for sample in range(200):
        rough = random.normal(size=UNITS)
        exact = rough + 0.5 * random.normal(size=UNITS)
        weight = weights(rough, sample)
        assert weight.sum() == pytest.approx(UNITS)
        assert (weight > 0).sum() == 30
        some = weight > 0
        found.append(
            (
                rank_correlation(rough[some], exact[some], weight[some]),
                top_overlap(in_top(rough)[some], exact[some], weight[some]),
            )
        )
        known.append((spearmanr(rough, exact).statistic, (in_top(rough) & in_top(exact)).sum() / 20))
    np.testing.assert_allclose(np.mean(found, 0), np.mean(known, 0), atol=0.05)


def test_equal_effects_agree_and_the_choice_depends_on_the_sample_alone():
    zeros, ones = np.zeros(20), np.ones(20)
    assert rank_correlation(zeros, zeros, ones) == top_overlap(in_top(zeros), zeros, ones) == 1
    assert rank_correlation(np.arange(20.0), zeros, ones) == 0
    effect = np.arange(UNITS) / UNITS
    assert np.array_equal(weights(effect, 3), weights(effect, 3))
    assert not np.array_equal(weights(effect, 3), weights(effect, 4))
