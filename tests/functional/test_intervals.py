"""Intervals against scipy, the jackknife and hand counts; what they cover is counted in checks/interval_coverage.py."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from dovision.functional import intervals
from dovision.functional.intervals import (
    CONSTANT,
    EFFECT_BOUNDS,
    FEW_DIFFERENT,
    FEW_GROUPS,
    NOT_MEASURED,
    ONE_GROUP,
    SATURATED,
    SHARE,
    SPREAD,
    UNIT_BOUNDS,
    Number,
    balanced_interval,
    bounded_means,
    difference_interval,
    holm,
    level_of_selected,
    mean_interval,
    mean_p_value,
    means,
    numbered,
    share_interval,
    share_of,
    spread,
    unit_ends,
    withheld,
)

ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 5)), min_size=4, max_size=60)


def sample(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, size=count)


def ends(values, groups, **more):
    return np.array(mean_interval(np.asarray(values, float), np.asarray(groups), **more)[1:3])


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("count", [3, 15])
def test_of_values_without_skew_it_is_students_with_half_the_degrees_of_freedom(level, count):
    values = np.arange(count) + 3.0
    expected = stats.t.interval(level, (count - 1) / 2, values.mean(), stats.sem(values))
    np.testing.assert_allclose(ends(values, np.arange(count), level=level), expected)


def test_the_side_of_the_longer_tail_reaches_further_by_the_skewness():
    values = sample(0, 30)
    quantile, error = stats.t.ppf(0.975, 29 / 2), stats.sem(values)
    slope = stats.skew(values, bias=False) / (2 * np.sqrt(30))
    expected = values.mean() - error * quantile, values.mean() + error * (quantile + slope * (1 + 2 * quantile**2))
    np.testing.assert_allclose(ends(values, np.arange(30)), expected)


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_estimate_and_interval_are_those_of_the_means_of_groups(rows):
    groups, values = np.array(rows).T
    names, place = np.unique(groups, return_inverse=True)
    totals, counts = np.bincount(place, values).reshape(-1, 1), np.bincount(place).reshape(-1, 1).astype(float)
    of_groups = np.array([values[groups == name].mean() for name in names])
    if len(names) < 3:
        return
    found = means(totals, counts)
    assert found.value[0] == pytest.approx(of_groups.mean())
    assert found.reason[0] or np.allclose([found.low, found.high], np.array(ends(of_groups, names))[:, np.newaxis])


def test_of_many_values_it_is_near_the_bootstraps_bca():
    values = sample(1, 400)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1))
    width = np.diff(theirs.confidence_interval).item()
    low, high = ends(values, np.arange(400)) - theirs.confidence_interval
    assert -0.03 * width < low < 0.03 * width
    assert 0 < high < 0.1 * width  # the longer tail


@settings(max_examples=40, deadline=None)
@given(ROWS, st.floats(0.01, 100), st.integers(-20, 20), st.randoms())
def test_it_follows_units_and_neither_names_nor_the_order_of_groups(rows, scale, shift, random):
    groups, values = np.array(rows, float).T
    found = ends(values, groups)
    np.testing.assert_allclose(ends(scale * values + shift, groups), scale * found + shift, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ends(-values, groups), -found[::-1], atol=1e-9)
    order, names = list(range(len(rows))), list(range(10))
    random.shuffle(order)
    random.shuffle(names)
    renamed = np.array(names)[groups.astype(int)]
    np.testing.assert_allclose(ends(values[order], renamed[order]), found, atol=1e-9)


def test_rows_that_only_repeat_their_patient_widen_the_interval_that_counts_patients():
    values, patients = sample(0, 20).repeat(10), np.arange(20).repeat(10)
    by_patient, by_row = ends(values, patients), ends(values, np.arange(200))
    assert np.diff(by_patient) > np.sqrt(10) * np.diff(by_row)


def test_missing_values_are_left_out_with_the_patients_who_have_no_others():
    values, groups = np.array([1.0, 3.0, np.nan, np.nan, np.inf, 4.0, 7.0]), np.array([0, 0, 1, 2, 2, 3, 4])
    left_out = mean_interval(values, groups)
    assert left_out == mean_interval(values[[0, 1, 5, 6]], groups[[0, 1, 5, 6]])
    assert left_out.n == 3


@pytest.mark.parametrize(
    ("values", "groups", "estimate", "clusters", "reason"),
    [
        ([], [], np.nan, 0, NOT_MEASURED),
        ([np.nan], [0], np.nan, 0, NOT_MEASURED),
        ([2.0, 4.0], [5, 5], 3.0, 1, FEW_GROUPS),
        ([2.0, 4.0], [5, 6], 3.0, 2, FEW_GROUPS),
        ([0.3] * 7, range(7), 0.3, 7, CONSTANT),
        ([0, 0, 1], range(3), 1 / 3, 3, FEW_DIFFERENT),
        ([0, 0, 0.1, 0.2], range(4), 0.075, 4, FEW_DIFFERENT),
        ([0.0] * 98 + [0.5, 0.7], range(100), 0.012, 100, FEW_DIFFERENT),
        ([1.0] * 98 + [0.5, 0.7], range(100), 0.992, 100, FEW_DIFFERENT),
    ],
)
def test_an_interval_that_would_not_hold_is_withheld_with_the_reason(values, groups, estimate, clusters, reason):
    found = mean_interval(np.array(values, float), np.array(groups, dtype=np.int64))
    assert found.value == pytest.approx(estimate, nan_ok=True)
    assert np.isnan([found.low, found.high]).all()
    assert (found.n, found.method, found.reason) == (clusters, "", reason)
    assert np.isnan(mean_p_value(np.array(values, float), np.array(groups, dtype=np.int64)))


def test_rounding_is_no_finding():
    values = np.full(30, 1e-19) * np.arange(30)
    assert mean_interval(values, np.arange(30)).reason == ""
    rounded = mean_interval(values, np.arange(30), resolution=6e-8)
    assert (rounded.value, rounded.reason) == (0, SATURATED)
    real = np.where(np.arange(30) < 5, 0.1 * np.arange(30), values)
    assert mean_interval(real, np.arange(30), resolution=6e-8).value == pytest.approx(1 / 30)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_a_p_value_is_below_its_level_exactly_where_the_interval_excludes_0(rows, level):
    groups, values = np.array(rows, float).T
    low, high = ends(values, groups, level=level)
    p = mean_p_value(values, groups)
    if abs(p - (1 - level)) > 1e-9:
        assert (p < 1 - level) == (low > 0 or high < 0)


def test_the_p_value_of_many_values_is_near_that_of_the_t_test():
    values = np.random.default_rng(3).normal(0.1, 1, 400)
    assert mean_p_value(values, np.arange(400)) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)
    assert mean_p_value(values - values.mean(), np.arange(400)) == 1


def test_several_means_at_once_are_each_by_itself_also_where_groups_are_missing():
    random = np.random.default_rng(0)
    counts = random.integers(0, 4, (9, 5)).astype(float)
    counts[:, 4] = 0
    totals = np.where(counts > 0, random.normal(size=(9, 5)), 0)
    found = means(totals, counts)
    for column in range(5):
        seen = counts[:, column] > 0
        alone = means(totals[seen, column : column + 1], counts[seen, column : column + 1])
        assert found.reason[column] == alone.reason[0]
        for together, single in zip(found[:5], alone[:5], strict=True):
            np.testing.assert_allclose(together[column], single[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.floats(0, 1))
def test_a_share_of_groups_of_one_is_clopper_and_pearsons(count, share):
    hits = np.arange(count) < round(share * count)
    found = share_interval(hits.astype(float), np.arange(count))
    expected = stats.binomtest(int(hits.sum()), count).proportion_ci(method="exact")
    np.testing.assert_allclose(found[1:3], expected, atol=1e-7)
    assert (found.n, found.method, found.reason) == (count, SHARE, "")
    np.testing.assert_allclose(np.ravel(share_of(hits.sum(), count)), expected, atol=1e-7)


def test_a_share_whose_groups_are_all_or_nothing_counts_groups():
    hits, groups = np.repeat([1.0, 0, 1, 1, 0, 1, 1, 1], 6), np.arange(8).repeat(6)
    found = share_interval(hits, groups)
    by_group = stats.binomtest(6, 8).proportion_ci(method="exact")
    assert found.low < by_group.low < found.value < by_group.high < found.high
    assert found.low > by_group.low - 0.1


def test_a_share_of_one_is_known_from_its_groups_and_a_single_group_has_no_interval():
    found = share_interval(np.ones(21 * 3), np.arange(21).repeat(3))
    assert found[1:3] == pytest.approx((0.025 ** (1 / 21), 1.0))
    alone = share_interval(np.array([1.0, 0.0]), np.zeros(2, int))
    assert (alone.value, alone.reason) == (0.5, ONE_GROUP)
    assert share_interval(np.array([np.nan]), np.zeros(1, int)).reason == NOT_MEASURED


def test_a_spread_is_the_share_on_the_side_of_the_median_its_order_statistics_and_the_range():
    """Means of the groups -.9, -.5, -.4, -.3, -.2, .1: the range of six has the median with a chance of 1 - 2 / 64."""
    values = np.array([-0.9, -0.5, -0.4, -0.3, -0.2, 0.0, 0.2, np.nan])
    found = spread(values, np.array([0, 1, 2, 3, 4, 5, 5, 6]))
    low, high = stats.binomtest(5, 6).proportion_ci(method="exact")
    expected = dict(zip(SPREAD, (5, low, high, -0.35, -0.9, 0.1, -0.9, 0.1), strict=True))
    assert found == pytest.approx(expected)
    assert np.isnan(spread(values[:5], np.arange(5))["median_low"])
    assert np.isnan(list(spread(values[7:], np.zeros(1, int)).values())).all()


@pytest.mark.parametrize("count", [6, 24, 100])
def test_the_interval_of_a_median_holds_whatever_the_law(count):
    random = np.random.default_rng(count)
    found = [spread(random.exponential(1, count), np.arange(count)) for _ in range(300)]
    assert np.mean([one["median_low"] <= np.log(2) <= one["median_high"] for one in found]) > 0.93


def test_an_interval_as_columns():
    columns = mean_interval(np.array([0.0]), np.zeros(1, int)).columns("gain")
    assert list(columns) == ["gain", "gain_low", "gain_high", "gain_reason"]
    assert columns["gain_reason"] == FEW_GROUPS


def test_a_number_is_written_as_plain_types_whatever_has_computed_it():
    written = intervals.Number(np.float32(0.5), np.float64(np.nan), 1.0, np.int64(3), "", "").to_dict()
    assert json.loads(json.dumps(written)) == written
    assert (written["estimate"], written["low"], written["clusters"]) == (0.5, None, 3)


def test_the_largest_of_many_have_wider_intervals():
    assert level_of_selected(10, 10) == level_of_selected(20, 10) == pytest.approx(0.95)
    assert level_of_selected(10, 100) == pytest.approx(0.995)


def test_holms_adjustment_is_that_of_the_textbook():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=50, deadline=None)
def test_adjusted_p_values_keep_their_order_and_are_the_larger(p):
    p = np.array(p)
    adjusted = holm(p)
    assert (adjusted >= p - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()


def slow_bets(values, alpha):
    """Ends of the set of means of values in [0, 1] that no mean of bets refutes, bet by bet on a grid of means."""
    grid = np.linspace(0, 1, 4001)[1:-1]
    stakes = np.sin(np.pi / 2 * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 41)))
    bets = 2 * stakes[:, np.newaxis] / (1 + stakes[:, np.newaxis] * (2 * grid - 1))  # from -1 / (1 - m) to 1 / m
    assert (bets[0], bets[-1]) == (pytest.approx(-1 / (1 - grid)), pytest.approx(1 / grid))
    capital = np.ones_like(bets)
    for value in values:
        capital *= 1 + bets * (value - grid)
    inside = np.flatnonzero(capital.mean(0) < 1 / alpha)
    assert (np.diff(inside) == 1).all()  # an interval
    return grid[inside].min(), grid[inside].max()


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize("count", [3, 17, 60])
def test_a_bounded_mean_has_the_interval_of_the_mean_of_fixed_bets(count, level):
    values = np.random.default_rng(count).beta(0.3, 3, count)
    found = mean_interval(values, np.arange(count), level=level, bounds=UNIT_BOUNDS)
    assert (found.low, found.high) == pytest.approx(slow_bets(values, 1 - level), abs=5e-4)
    scaled = mean_interval(2 * values - 1, np.arange(count), level=level, bounds=EFFECT_BOUNDS)
    assert (scaled.low, scaled.high) == pytest.approx((2 * found.low - 1, 2 * found.high - 1))
    mirrored = bounded_means(-values[:, None], np.ones((count, 1)), (-1.0, 0.0))
    assert mirrored.p == pytest.approx(bounded_means(values[:, None], np.ones((count, 1)), UNIT_BOUNDS).p)


EFFECTS = st.lists(st.tuples(st.integers(0, 9), st.floats(-1, 1)), min_size=4, max_size=60)


@settings(max_examples=15, deadline=None)
@given(EFFECTS, st.sampled_from([0.9, 0.95, 0.999]))
def test_the_interval_of_effects_holds_their_mean_and_follows_their_sign_alone(rows, level):
    groups, values = (np.array(column) for column in zip(*rows, strict=True))
    found = mean_interval(values, groups, level=level, bounds=EFFECT_BOUNDS)
    if found.reason:
        return
    assert -1 <= found.low <= found.value <= found.high <= 1
    turned = mean_interval(-values, groups, level=level, bounds=EFFECT_BOUNDS)
    assert turned[1:3] == pytest.approx((-found.high, -found.low), abs=1e-6)
    again = mean_interval(values.repeat(3), groups.repeat(3), level=level, bounds=EFFECT_BOUNDS)
    assert again[:3] == pytest.approx(found[:3], abs=1e-6)
    renamed = np.random.default_rng(len(rows)).permutation(10)[groups]
    assert mean_interval(values, renamed, level=level, bounds=EFFECT_BOUNDS)[:3] == pytest.approx(found[:3])
    _, place = np.unique(groups, return_inverse=True)
    p = bounded_means(*(np.bincount(place, weights)[:, None] for weights in (values, np.ones(len(values))))).p[0]
    excluded = [one.low > 1e-6 or one.high < -1e-6 for one in [mean_interval(values, groups, bounds=EFFECT_BOUNDS)]]
    assert abs(p - 0.05) < 1e-4 or (p < 0.05) == excluded[0]


@pytest.mark.parametrize(
    ("bounds", "value"), [(EFFECT_BOUNDS, 1.2), (EFFECT_BOUNDS, -3.0), (UNIT_BOUNDS, -0.1), ((0, np.inf), -1.0)]
)
def test_a_value_outside_its_bounds_is_refused(bounds, value):
    with pytest.raises(ValueError, match=r"values must lie in \[.*\], got"):
        mean_interval(np.array([0.1, 0.2, 0.3, value]), np.arange(4), bounds=bounds)
    with pytest.raises(ValueError, match="values must lie in"):
        bounded_means(np.full((4, 1), 2.5), np.full((4, 1), 2.0))


def test_nothing_is_warned_of(recwarn):
    for values in ([], [1.0], [1.0, 1.0, 1.0], [0.0, np.nan, 2.0, 5.0]):
        mean_interval(np.array(values), np.arange(len(values)))
        mean_p_value(np.array(values), np.arange(len(values)))
        for bounds in ((-9, 9), (0, 9)):
            mean_interval(np.array(values), np.arange(len(values)), bounds=bounds)
    intervals.means(np.zeros((3, 2)), np.zeros((3, 2)))
    for end in (-1.0, 0.0, 1.0):
        bounded_means(np.full((4, 2), end), np.ones((4, 2)))
        bounded_means(np.full((4, 2), abs(end)), np.ones((4, 2)), UNIT_BOUNDS)
    assert not recwarn


def test_a_balanced_accuracy_is_scikit_learns_with_about_the_interval_of_resampled_images():
    random = np.random.default_rng(0)
    label = random.choice(3, 600, p=[0.1, 0.3, 0.6])
    prediction = np.where(random.random(600) < 0.8, label, random.choice(3, 600))
    found = balanced_interval(prediction == label, label, np.arange(600))
    assert found.value == pytest.approx(balanced_accuracy_score(label, prediction))
    rows = [random.integers(600, size=600) for _ in range(500)]
    low, high = np.quantile([balanced_accuracy_score(label[own], prediction[own]) for own in rows], [0.025, 0.975])
    assert high - low < found.high - found.low < 1.6 * (high - low)  # no narrower, for the sake of few images
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_a_balanced_accuracy_with_one_group_of_a_class_has_no_interval():
    label = np.array([0, 0, 0, 1, 1])
    found = balanced_interval(label == 0, label, np.array([0, 1, 2, 3, 3]))
    assert (found.value, found.reason) == (0.5, ONE_GROUP)
    assert np.isnan(found.low)


def test_a_difference_of_two_equal_parts_has_students_interval():
    groups, added = np.arange(20), np.tile([0.1, -0.1], 10) / 20
    number = difference_interval(0.02, added, groups, [groups])
    assert (number.low, number.high) == pytest.approx(stats.t.interval(0.95, 19, 0.02, 0.1 / np.sqrt(19)))


def test_a_difference_that_few_groups_make_is_known_by_their_kurtosis_and_skewness():
    groups, added = np.arange(40), np.repeat([0.0, 0.01, -0.05], [30, 5, 5])
    number = difference_interval(0.3, added, groups, [groups])
    kurtosis, skewness = 40 * (added**4).sum() / (added**2).sum() ** 2, np.sqrt(40) * (added**3).sum()
    freedom = 2 * 40 / (kurtosis - 1)
    assert freedom < 39
    quantile, error = stats.t.ppf(0.975, freedom), np.sqrt(40 / 39 * (added**2).sum())
    slope = -skewness / (added**2).sum() ** 1.5 / 2 / np.sqrt(2 * freedom + 1)
    assert (0.3 - number.low, number.high - 0.3) == pytest.approx(
        (error * (quantile + slope * (1 + 2 * quantile**2)), error * quantile)
    )
    far = difference_interval(0.99, added, groups, [groups])
    assert (far.high, difference_interval(-0.99, added, groups, [groups]).low) == (1, -1)


@pytest.mark.parametrize(
    ("effective", "most", "size"),
    [
        (10, 1000, 21 * (1 + 1 / 39) * (stats.t.ppf(0.025, 39) / stats.t.ppf(0.025, 9)) ** 2),
        (1.2, 1000, 21 * (1 + 1 / 39) * (stats.t.ppf(0.025, 39) / stats.t.ppf(0.025, 0.5)) ** 2),
        (10, 9, 9),
    ],
)
def test_a_share_has_the_ends_of_as_many_trials_as_have_its_error(effective, most, size):
    found = unit_ends(0.3, 0.1, effective, 40, 5, most)  # 0.3 * 0.7 / 0.1 ** 2 = 21
    expected = stats.beta.ppf([0.025, 0.975], [0.3 * size, 0.3 * size + 1], [0.7 * size + 1, 0.7 * size])
    assert found == pytest.approx(expected)


def test_an_interval_stays_within_the_range_of_its_quantity_and_a_withheld_one_withheld():
    made = Number(0.4, -0.3, 1.2, 5, "", "")
    assert made.within(0, 1) == made._replace(low=0, high=1)
    assert made.within(-1, 2) == made
    assert np.isnan(withheld(0.4, 2, "few").within(0, 1).low)


@pytest.mark.parametrize("largest", [3, 40, 10**9])
def test_groups_are_numbered_as_numpy_does(largest):
    groups = np.random.default_rng(0).integers(0, largest, 20)
    for found, expected in zip(numbered(groups), np.unique(groups, return_inverse=True), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [len(each) for each in numbered(groups[:0])] == [0, 0]
