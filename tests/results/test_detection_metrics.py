"""Detection metrics against scikit-learn, and their intervals against the plain bootstrap of whole groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from dovision.results.detection_metrics import Resamples, Scored, auroc, average_precision, share, threshold

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=12)
ORACLES = [(auroc, roc_auc_score), (average_precision, average_precision_score)]
IDS = ["auroc", "average_precision"]


def scored(values, first_group=0):
    return Scored(np.array(values, float), np.arange(len(values)) + first_group)


def resamples_of(*images, draws=2, seed=0):
    return Resamples(np.concatenate([each.group for each in images]), seed, draws)


def labels(attacked, clean):
    return np.repeat([1, 0], [len(attacked), len(clean)])


@pytest.mark.parametrize(("metric", "oracle"), ORACLES, ids=IDS)
@settings(max_examples=25, deadline=None)
@given(attacked=SCORES, clean=SCORES)
def test_the_estimate_equals_scikit_learn_also_with_ties(metric, oracle, attacked, clean):
    images = scored(attacked), scored(clean, first_group=100)
    found = metric(*images, resamples_of(*images))
    assert found.estimate == pytest.approx(oracle(labels(attacked, clean), attacked + clean))
    assert found.clusters == len(attacked) + len(clean)


@pytest.mark.parametrize("decimals", [12, 0], ids=["no ties", "ties"])
@pytest.mark.parametrize(("metric", "oracle"), ORACLES, ids=IDS)
def test_the_interval_is_the_plain_bootstrap_of_whole_groups(bootstrap, metric, oracle, decimals):
    random = np.random.default_rng(3)
    scores, groups = random.normal(size=60), random.integers(0, 15, size=60)
    is_attacked = np.arange(60) < 25
    scores[is_attacked] += 0.7
    scores = scores.round(decimals)
    images = Scored(scores[:25], groups[:25]), Scored(scores[25:], groups[25:])
    expected = bootstrap(lambda drawn: oracle(is_attacked[drawn], scores[drawn]), groups, seed=5, draws=200)
    assert metric(*images, resamples_of(*images, draws=200, seed=5)) == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "oracle"), ORACLES, ids=IDS)
def test_resamples_weigh_as_scikit_learn_does(metric, oracle):
    random = np.random.default_rng(0)
    times, scores = random.integers(1, 4, size=30), random.integers(0, 8, size=30).astype(float)
    repeated = np.repeat(np.arange(30), times)
    attacked, clean = repeated[repeated < 12], repeated[repeated >= 12]
    images = scored(scores[attacked]), scored(scores[clean])
    expected = oracle(np.arange(30) < 12, scores, sample_weight=times)
    assert metric(*images, resamples_of(*images)).estimate == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "chance"), [(auroc, 0.5), (average_precision, 0.25)], ids=IDS)
def test_a_score_without_information_has_one_half_and_the_prevalence(metric, chance):
    images = scored([1.0, 1.0]), scored([1.0] * 6)
    assert metric(*images, resamples_of(*images)).estimate == chance


@settings(max_examples=25, deadline=None)
@given(attacked=SCORES, clean=SCORES)
def test_only_the_order_of_scores_matters_and_a_reversed_one_mirrors_auroc(attacked, clean):
    def measured(metric, change):
        images = scored([change(v) for v in attacked]), scored([change(v) for v in clean])
        return metric(*images, resamples_of(*images, draws=20))

    for metric in (auroc, average_precision):
        assert measured(metric, np.exp) == pytest.approx(measured(metric, float), nan_ok=True)
    assert measured(auroc, lambda v: -v).estimate == pytest.approx(1 - measured(auroc, float).estimate)


@pytest.mark.parametrize(("attacked", "clean"), [([], [1.0]), ([1.0], []), ([], [])])
def test_nothing_to_compare_gives_nan_and_no_warning(attacked, clean, recwarn):
    images = scored(attacked), scored(clean)
    resamples = resamples_of(scored([0.0] * 3))
    for found in (auroc(*images, resamples), average_precision(*images, resamples)):
        assert np.isnan([found.estimate, found.low, found.high]).all()
    assert np.isnan(share(np.zeros(0, bool), np.zeros(0, int), resamples).estimate)
    assert not recwarn


def test_a_single_group_has_an_estimate_and_no_interval():
    images = Scored(np.array([2.0, 3.0]), np.zeros(2, int)), Scored(np.array([1.0, 2.0]), np.zeros(2, int))
    found = auroc(*images, resamples_of(*images))
    assert found.estimate == 0.875
    assert np.isnan([found.low, found.high]).all()


def test_a_share_is_a_mean_with_its_plain_bootstrap_and_may_miss_groups(bootstrap):
    random = np.random.default_rng(1)
    hits, groups = random.random(80) < 0.3, random.integers(0, 20, size=80)
    expected = bootstrap(lambda drawn: hits[drawn].mean(), groups, seed=2, draws=100)
    assert share(hits, groups, Resamples(groups, 2, 100)) == pytest.approx(expected)
    few = share(hits[:10], groups[:10], Resamples(groups, 2, 100))
    assert few.estimate == pytest.approx(hits[:10].mean())
    assert few.low <= few.estimate <= few.high


@given(scores=st.lists(st.integers(-9, 9), min_size=1, max_size=60), rate=st.sampled_from([0.01, 0.05, 0.2]))
def test_a_threshold_rejects_at_most_its_rate_and_the_next_lower_score_rejects_more(scores, rate):
    scores = np.array(scores, float)
    limit = threshold(scores, rate)
    assert (scores > limit).mean() <= rate + 1e-12
    lower = scores[scores < limit]
    assert not len(lower) or (scores > lower.max()).mean() > rate


def test_a_threshold_is_counted_by_hand():
    assert threshold(np.arange(100.0), 0.05) == 94  # five scores lie above
    assert threshold(np.arange(100.0), 0.01) == 98
    with pytest.raises(ValueError, match=r"needs the scores of clean validation images, got none\."):
        threshold(np.array([]), 0.05)
