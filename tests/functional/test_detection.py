"""Detection metrics against scikit-learn, and their errors against small changes of its weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from dovision.functional.detection import (
    OTHER_IMAGES,
    Scored,
    auroc,
    auroc_difference,
    fewest_for_threshold,
    pooled_auroc,
    threshold,
)
from dovision.functional.intervals import FEW_DIFFERENT, NOT_MEASURED, ONE_GROUP, unit_ends

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=12)


def scored(values, first_group=0):
    return Scored(np.array(values, float), np.arange(len(values)) + first_group)


def labels(attacked, clean):
    return np.repeat([1, 0], [len(attacked), len(clean)])


@settings(max_examples=25, deadline=None)
@given(attacked=SCORES, clean=SCORES)
def test_the_estimate_equals_scikit_learn_also_with_ties(attacked, clean):
    found = auroc(scored(attacked), scored(clean, first_group=100))
    assert found.value == pytest.approx(roc_auc_score(labels(attacked, clean), attacked + clean))
    assert found.n == len(attacked) + len(clean)


@settings(max_examples=25, deadline=None)
@given(strata=st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=4))
def test_a_pooled_area_is_the_mean_of_the_strata_weighted_by_attacked_images(strata):
    found = pooled_auroc([(scored(attacked), scored(clean, 100)) for attacked, clean in strata])
    areas = [roc_auc_score(labels(*pair), pair[0] + pair[1]) for pair in strata]
    assert found.value == pytest.approx(np.average(areas, weights=[len(attacked) for attacked, _ in strata]))
    empty = [(scored([]), scored([1.0], 300)), (scored([2.0], 400), scored([]))]
    pairs = [(scored(attacked), scored(clean, 100)) for attacked, clean in strata]
    np.testing.assert_equal(pooled_auroc(empty[:1] + pairs + empty[1:]), found)  # count for nothing
    assert pooled_auroc(empty).n == 2


@pytest.mark.parametrize("same_groups", [True, False])
def test_the_error_of_a_pooled_area_is_that_of_the_sum_of_the_strata(same_groups):
    random = np.random.default_rng(1)
    strata = [(random.normal(1, 1, 40), random.normal(0, 1, 60)) for _ in range(2)]
    start = 0 if same_groups else 1000
    found = pooled_auroc([(scored(a, start * n), scored(c, 500 + start * n)) for n, (a, c) in enumerate(strata)])
    added = np.zeros(3000)
    for number, (attacked, clean) in enumerate(strata):
        won = (attacked[:, None] > clean).astype(float)
        added[np.arange(40) + start * number] += (won.mean(1) - found.value) / 80
        added[500 + np.arange(60) + start * number] += (won.mean(0) - won.mean()) / 2 / 60
    fewest = 40 if same_groups else 80
    error = np.sqrt(fewest / (fewest - 1) * (added**2).sum())
    expected = unit_ends(found.value, error, fewest, np.inf, fewest, 2 * fewest)
    assert found[1:3] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("decimals", [12, 0], ids=["no ties", "ties"])
def test_the_error_follows_from_what_scikit_learns_value_gains_by_each_groups_weight(decimals):
    random = np.random.default_rng(3)
    scores, groups = random.normal(size=60), random.integers(0, 15, size=60)
    is_attacked = np.arange(60) < 25
    scores = (scores + 0.7 * is_attacked).round(decimals)

    def value(group, more):
        return roc_auc_score(is_attacked, scores, sample_weight=1 + more * (groups == group))

    gain = np.array([(value(group, 1e-5) - value(group, -1e-5)) / 2e-5 for group in range(15)])
    sizes = [np.bincount(groups[chosen]) for chosen in (is_attacked, ~is_attacked)]
    fewer = min(size.sum() ** 2 / (size**2).sum() for size in sizes)
    error = np.sqrt(fewer / (fewer - 1) * (gain**2).sum())
    found = auroc(*(Scored(scores[chosen], groups[chosen]) for chosen in (is_attacked, ~is_attacked)))
    assert found[1:3] == pytest.approx(unit_ends(found.value, error, fewer, np.inf, fewer, 2 * fewer), abs=1e-6)


@pytest.mark.parametrize(("attacked", "clean"), [([], [1.0]), ([1.0], []), ([], [])])
def test_nothing_to_compare_gives_nan_and_no_warning(attacked, clean, recwarn):
    found = auroc(scored(attacked), scored(clean))
    assert np.isnan([found.value, found.low, found.high]).all()
    assert found.reason == NOT_MEASURED
    assert not recwarn


def test_a_single_group_has_an_estimate_and_no_interval():
    found = auroc(Scored(np.array([2.0, 3.0]), np.zeros(2, int)), Scored(np.array([1.0, 2.0]), np.zeros(2, int)))
    assert (found.value, found.reason) == (0.875, ONE_GROUP)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(("count", "above"), [(59, 0), (92, 0), (93, 1), (300, 8), (667, 23), (1000, 38)])
def test_a_threshold_is_counted_by_hand(count, above):
    scores = np.random.default_rng(0).permutation(count).astype(float)
    assert (scores > threshold(scores, 0.05)).sum() == above
    assert stats.binom.cdf(above, count, 0.05) <= 0.05 < stats.binom.cdf(above + 1, count, 0.05)


@settings(max_examples=20, deadline=None)
@given(scores=st.lists(st.integers(-9, 9), min_size=59, max_size=120))
def test_a_lower_score_as_the_threshold_would_break_the_guarantee(scores):
    scores = np.array(scores, float)
    lower = scores[scores < threshold(scores, 0.05)]
    assert not len(lower) or stats.binom.cdf((scores > lower.max()).sum(), len(scores), 0.05) > 0.05


def test_there_is_no_threshold_of_too_few_scores():
    assert [fewest_for_threshold(rate) for rate in (0.01, 0.05, 0.5)] == [299, 59, 5]
    assert np.isnan(threshold(np.arange(58.0), 0.05))
    assert threshold(np.arange(59.0), 0.05) == 58
    with pytest.raises(ValueError, match=r"needs the scores of clean validation images, got none\."):
        threshold(np.array([]), 0.05)


def two_scores(random, count, shift=1.0, better=0.0):
    """Attacked and clean images as two detectors score them that agree in part; the second one is better by a shift."""
    scores = []
    for move, first in ((shift, 0), (0.0, 10_000)):
        shared = random.normal(size=count)
        own = [0.8 * shared + 0.6 * random.normal(size=count) + move + (move > 0) * extra for extra in (0, better)]
        scores.append([scored(each, first) for each in own])
    return tuple([(attacked, clean)] for attacked, clean in zip(*scores, strict=True))


def test_a_difference_of_areas_is_that_of_scikit_learn_and_its_error_is_delongs():
    random = np.random.default_rng(0)
    first, second = two_scores(random, 60)
    found = auroc_difference(second, first)
    areas, added = [], []
    for ((attacked, clean),) in (second, first):
        areas.append(roc_auc_score(labels(attacked.score, clean.score), np.r_[attacked.score, clean.score]))
        won = (attacked.score[:, None] > clean.score).astype(float)
        added.append([won.mean(1), won.mean(0)])
    assert found.value == pytest.approx(areas[0] - areas[1])
    of_attacked, of_clean = (np.subtract(*pair) for pair in zip(*added, strict=True))
    error = np.sqrt(of_attacked.var(ddof=1) / 60 + of_clean.var(ddof=1) / 60)
    assert found.high - found.low == pytest.approx(2 * 1.98 * error, rel=0.15)
    assert auroc_difference(first, second)[:3] == pytest.approx((-found.value, -found.high, -found.low))
    assert auroc_difference([(scored([]), scored([1.0])), *second], first) == found  # nothing to compare


def test_equal_scores_and_few_images_have_a_difference_without_an_interval():
    first, second = two_scores(np.random.default_rng(2), 60)
    same = auroc_difference(first, first)
    assert (same.value, same.reason) == (0, FEW_DIFFERENT)
    few = auroc_difference(*two_scores(np.random.default_rng(2), 19))
    assert few.reason == "fewer than 20 groups"
    assert auroc_difference([(scored([]), scored([1.0]))], [(scored([]), scored([2.0]))])[3:] == (0, "", NOT_MEASURED)
    apart = auroc_difference(first, [(scored(pair[0].score, 5), pair[1]) for pair in second])
    assert (np.isnan(apart.value), apart.reason) == (True, OTHER_IMAGES)
