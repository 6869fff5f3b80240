from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import Bernoulli, Categorical, kl_divergence

from dovision import effects
from dovision.contracts import Task

BINARY = Task("multiclass", ("no", "yes"))
LABELS = Task("multilabel", ("a", "b"))
CONTROL = torch.tensor([[0.2, 0.8]])
TREATED = torch.tensor([[0.5, 0.5]])


def test_an_effect_is_treated_minus_control():
    torch.testing.assert_close(effects.effect(TREATED, CONTROL), torch.tensor([[0.3, -0.3]]))


def test_the_expected_effect_of_classes_is_summed_with_the_control_as_weights():
    expected = effects.expected_effect(torch.tensor([[0.3, -0.3]]), CONTROL, BINARY)
    torch.testing.assert_close(expected, torch.full((1, 2), 0.2 * 0.3 - 0.8 * 0.3))


def test_each_label_has_an_expected_effect_of_its_own():
    expected = effects.expected_effect(torch.tensor([[0.3, -0.3]]), CONTROL, LABELS)
    torch.testing.assert_close(expected, torch.tensor([[0.06, -0.24]]))


def test_expected_effects_keep_every_axis():
    effect = torch.rand(3, 4, 2)
    assert effects.expected_effect(effect, torch.rand(3, 4, 2), BINARY).shape == (3, 4, 2)


def test_the_log_odds_effect_shows_what_a_saturated_softmax_hides():
    control, treated = torch.tensor([[0.0, 40.0]]), torch.tensor([[0.0, 30.0]])
    hidden = effects.effect(BINARY.probability(treated), BINARY.probability(control))
    assert hidden.abs().max() < 1e-12
    shown = effects.log_odds_effect(treated, control, BINARY)
    torch.testing.assert_close(shown, torch.tensor([[10.0, -10.0]]))


def test_the_log_odds_effect_of_a_label_is_the_change_of_its_logit():
    control, treated = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 5.0]])
    assert torch.equal(effects.log_odds_effect(treated, control, LABELS), torch.tensor([[-1.0, 3.0]]))


def test_the_expected_effect_on_logits_is_that_of_the_authors_notebook():
    # the logits and the effect that mnist.ipynb prints for the first test digit, to four decimals
    control = [-7.7913, -8.7620, -3.8121, -1.1142, -8.2427, -7.5758, -21.8473, 12.7211, -3.2361, -2.5685]
    treated = [-7.5444, -9.0752, -3.1629, -1.2157, -8.7326, -7.4799, -22.1875, 12.8187, -3.4300, -2.6987]
    digits = Task("multiclass", tuple("0123456789"))
    found = effects.expected_logit_effect(torch.tensor([treated]), torch.tensor([control]), digits)
    torch.testing.assert_close(found, torch.full((1, 10), 0.0976), atol=5e-5, rtol=0)


def test_the_expected_effect_on_the_logit_of_a_label_is_its_own_change_times_its_probability():
    control, treated = torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 1.0]])
    expected = torch.tensor([[0.5 * 3, -torch.tensor(2.0).sigmoid()]])
    torch.testing.assert_close(effects.expected_logit_effect(treated, control, LABELS), expected)


def test_the_terms_of_the_divergence_are_torchs_in_nats():
    control, treated = torch.randn(2, 5, 3, 2, generator=torch.Generator().manual_seed(0))
    found = effects.divergence(control, treated, BINARY)
    categorical = kl_divergence(Categorical(logits=control), Categorical(logits=treated))
    torch.testing.assert_close(found.sum(-1), categorical)
    by_element = torch.nn.KLDivLoss(reduction="mean")(treated.log_softmax(-1), control.softmax(-1))
    torch.testing.assert_close(found.mean(), by_element)
    independent = kl_divergence(Bernoulli(logits=control), Bernoulli(logits=treated))
    torch.testing.assert_close(effects.divergence(control, treated, LABELS), independent)
    assert not effects.divergence(control, control, BINARY).any()


@pytest.mark.parametrize(
    "measure",
    [
        lambda a, b: effects.effect(a, b),
        lambda a, b: effects.log_odds_effect(a, b, BINARY),
        lambda a, b: effects.expected_effect(a, b, BINARY),
        lambda a, b: effects.expected_logit_effect(a, b, BINARY),
        lambda a, b: effects.divergence(a, b, BINARY),
    ],
)
def test_shapes_that_differ_are_refused_rather_than_broadcast(measure):
    with pytest.raises(ValueError, match=r"must have the same shape, got .*\(3, 2\), .*\(1, 2\)"):
        measure(torch.zeros(3, 2), torch.zeros(1, 2))


def sample(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, size=count)


def test_the_interval_of_a_mean_is_scipys_percentile_interval():
    values = sample(0, 60)
    ours = effects.mean_interval(values, np.arange(60), seed=0, draws=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    error = 0.05 * theirs.standard_error  # of a quantile of 4000 draws
    assert ours.estimate == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=2 * error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=2 * error)
    assert ours.clusters == 60


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=20), st.integers(0, 100))
def test_the_interval_of_a_mean_is_the_plain_bootstrap_of_whole_groups(bootstrap, groups, seed):
    values, groups = sample(seed, len(groups)), np.array(groups)
    plain = bootstrap(lambda rows: values[rows].mean(), groups, seed, draws=50)
    np.testing.assert_allclose(effects.mean_interval(values, groups, seed, draws=50), plain, rtol=1e-12)


@pytest.mark.parametrize("copies", [2, 5])
def test_repeating_every_row_inside_its_group_does_not_change_the_interval(copies):
    values, groups = sample(0, 40), np.arange(40) // 4
    once = effects.mean_interval(values, groups, seed=0)
    repeated = effects.mean_interval(values.repeat(copies), groups.repeat(copies), seed=0)
    np.testing.assert_allclose(repeated, once, rtol=1e-12)


def test_rows_that_only_repeat_their_patient_widen_the_interval_that_counts_patients():
    values, patients = sample(0, 20).repeat(10), np.arange(20).repeat(10)
    by_patient = effects.mean_interval(values, patients, seed=0)
    by_row = effects.mean_interval(values, np.arange(200), seed=0)
    ratio = (by_patient.high - by_patient.low) / (by_row.high - by_row.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)
    assert by_patient.clusters == 20


def test_a_patient_weighs_as_many_rows_as_he_has():
    values, groups = np.array([0.0, 1.0, 1.0, 1.0]), np.array([7, 9, 9, 9])
    interval = effects.mean_interval(values, groups, seed=0)
    assert interval == effects.Interval(0.75, 0.0, 1.0, 2)


def test_about_95_of_100_intervals_hold_the_true_mean():
    held = 0
    for trial in range(300):
        random = np.random.default_rng(trial)
        patient = random.normal(size=50)
        values = patient.repeat(3) + 0.1 * random.normal(size=150)
        interval = effects.mean_interval(values, np.arange(50).repeat(3), seed=trial, draws=200)
        held += interval.low <= 0 <= interval.high
    assert 0.90 <= held / 300 <= 0.98


def test_the_order_of_the_rows_does_not_matter():
    values, groups = sample(0, 30), np.arange(30) // 3
    shuffled = np.random.default_rng(0).permutation(30)
    np.testing.assert_allclose(
        effects.mean_interval(values[shuffled], groups[shuffled], seed=0),
        effects.mean_interval(values, groups, seed=0),
        rtol=1e-12,
    )


def test_the_level_is_the_share_of_the_resamples_inside():
    values, groups = sample(0, 50), np.arange(50)
    narrow = effects.mean_interval(values, groups, seed=0, level=0.5)
    wide = effects.mean_interval(values, groups, seed=0, level=0.99)
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_missing_values_are_left_out_with_the_patients_who_have_no_others():
    values = np.array([1.0, 3.0, np.nan, np.nan, 5.0])
    interval = effects.mean_interval(values, np.array([0, 0, 1, 2, 2]), seed=0)
    assert interval.estimate == 3.0
    assert interval.clusters == 2


@pytest.mark.parametrize(
    ("values", "groups", "estimate", "clusters"),
    [([], [], np.nan, 0), ([np.nan], [0], np.nan, 0), ([2.0], [0], 2.0, 1), ([2.0, 4.0], [5, 5], 3.0, 1)],
)
def test_fewer_than_two_patients_have_no_interval(values, groups, estimate, clusters):
    interval = effects.mean_interval(np.array(values), np.array(groups, dtype=np.int64), seed=0)
    np.testing.assert_array_equal(interval, (estimate, np.nan, np.nan, clusters))


def test_an_interval_is_given_only_if_nearly_all_resamples_have_the_statistic():
    resampled = np.arange(100.0)
    resampled[:10] = np.nan
    assert effects.percentile_interval(1.0, resampled, 0.5, 7) == (1.0, 32.25, 76.75, 7)
    resampled[10] = np.inf
    np.testing.assert_array_equal(effects.percentile_interval(1.0, resampled, 0.5, 7), (1.0, np.nan, np.nan, 7))


def test_the_p_value_of_a_mean_agrees_with_its_interval():
    random = np.random.default_rng(0)
    groups = np.arange(60)
    for shift in (0.0, 0.1, 0.25, 0.4):
        values = random.normal(shift, 1, 60)
        p = effects.mean_p_value(values, groups, seed=1)
        low, high = effects.mean_interval(values, groups, seed=1)[1:3]
        assert (p < 0.049) <= (low > 0 or high < 0)
        assert (p > 0.053) <= (low <= 0 <= high)


def test_the_p_value_of_a_mean_is_near_that_of_the_t_test():
    values = np.random.default_rng(3).normal(0.2, 1, 200)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert effects.mean_p_value(values, np.arange(200), seed=0, draws=4000) == pytest.approx(expected, abs=0.01)


def test_a_p_value_is_never_zero_and_has_no_meaning_for_one_group():
    assert effects.mean_p_value(np.ones(20), np.arange(20), seed=0) == pytest.approx(2 / 1001)
    assert effects.mean_p_value(np.zeros(20), np.arange(20), seed=0) == 1
    assert np.isnan(effects.mean_p_value(np.ones(20), np.zeros(20, dtype=int), seed=0))


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_a_few_groups_that_agree_prove_no_more_than_flipping_their_signs_could(groups):
    assert effects.mean_p_value(np.arange(1.0, groups + 1), np.arange(groups), seed=0) == 2 / 2**groups


def test_many_groups_are_resampled_in_blocks_with_the_same_draws(monkeypatch):
    values, groups = np.random.default_rng(0).normal(size=90), np.arange(90) // 3
    whole = effects.mean_interval(values, groups, seed=2)
    monkeypatch.setattr(effects, "BLOCK", 1000)
    assert effects.mean_interval(values, groups, seed=2) == whole


def test_holms_adjustment_is_that_of_the_textbook():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(effects.holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(effects.holm(np.array([0.6, 0.7])), [1, 1])


def test_benjamini_and_hochbergs_adjustment_is_that_of_the_textbook():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(effects.benjamini_hochberg(p), [0.02, 0.04, np.nan, 0.04, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(max_examples=50, deadline=None)
def test_adjusted_p_values_keep_their_order_and_holms_are_the_larger(p):
    p = np.array(p)
    holm, hochberg = effects.holm(p), effects.benjamini_hochberg(p)
    assert (holm >= hochberg - 1e-12).all()
    assert (hochberg >= p - 1e-12).all()
    for adjusted in (holm, hochberg):
        assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()
