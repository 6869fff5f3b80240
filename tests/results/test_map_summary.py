"""Average scores, and differences to the reference on the same images."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dovision.functional.intervals import holm, mean_interval, mean_p_value
from dovision.results.explanation_metrics import (
    BOX_AREA,
    CENTRE_DISTANCE,
    MAP_METRICS,
    RANGES,
    agreements,
    control_estimates,
    estimates,
)
from dovision.results.map_summary import GIVEN_AREA, POOLED
from dovision.results.map_summary import scores as all_scores

pytestmark = pytest.mark.usefixtures("few_images")


def scores(frame, parts=None, controls=None):
    none, compared = pd.DataFrame(), "grad_cam" if "grad_cam" in set(frame["explainer"]) else "a"
    return all_scores(frame, none if parts is None else parts, none if controls is None else controls, compared)


@pytest.fixture(scope="module")
def judged(map_run):
    return scores(agreements(map_run), estimates(map_run), control_estimates(map_run))


def frame_of(values, explainers=("a", "b"), label="x"):
    """A row per sample and explainer; each metric has the value of values[explainer][sample]."""
    rows = [
        {"sample": sample, "group": sample // 2, "explainer": name, "correct": sample > 1}
        | dict.fromkeys(RANGES, value)
        for name, found in zip(explainers, values, strict=True)
        for sample, value in enumerate(found)
    ]
    return pd.DataFrame(rows).assign(state="ok", **{"class": label})


def row_of(table, explainer, metric="energy", cases="all"):
    chosen = table[(table["explainer"] == explainer) & (table["metric"] == metric) & (table["cases"] == cases)]
    return chosen.iloc[0]


def test_a_score_is_the_mean_with_its_cluster_interval():
    values = np.random.default_rng(0).random(12)
    row = row_of(scores(frame_of([values, values])), "a")
    expected = mean_interval(values, np.arange(12) // 2).within(0, 1)  # as all energy
    assert tuple(row[["mean", "low", "high", "clusters"]]) == expected[:4]
    assert row["reason"] == ""
    assert (row["scored"], row["maps"], row["flagged"]) == (12, 12, 0)


def test_the_difference_is_paired_and_leaves_out_what_one_side_lacks():
    first, second = np.arange(1.0, 9), np.array([2.0, 2.5, np.nan, 5, 7, 6.5, 7, 8.1])
    row = row_of(scores(frame_of([first, second])), "b")
    difference = second - first
    groups = np.arange(8) // 2
    assert row["pairs"] == 7
    assert row["difference"] == pytest.approx(np.nanmean(difference.reshape(4, 2), axis=1).mean())
    assert row["difference_low"] == pytest.approx(mean_interval(difference, groups).low)
    assert row["p"] == mean_p_value(difference, groups)


def test_p_values_of_a_table_are_adjusted_over_the_whole_of_it():
    table = scores(frame_of(np.random.default_rng(2).normal([[0], [1], [2]], 1, (3, 30)), ("a", "b", "c")))
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].to_numpy()))
    assert table["p"].notna().sum() == 2 * 2 * len(MAP_METRICS)


def test_the_pooled_metric_and_its_difference_are_rank_correlations_over_the_objects_of_both(map_run, judged):
    parts = estimates(map_run)
    for explainer, own in parts.groupby("explainer"):
        row = row_of(judged, explainer, POOLED)
        assert row["mean"] == pytest.approx(stats.spearmanr(own["density"], own["evidence"]).statistic)
        assert row["scored"] == len(own)
    assert row_of(judged, "random_map", POOLED)["low"] < 0 < row_of(judged, "random_map", POOLED)["high"]
    parts = estimates(map_run).pivot(index=["sample", "class", "object"], columns="explainer", values="density")
    evidence = estimates(map_run).drop_duplicates(["sample", "class", "object"]).set_index(list(parts.index.names))
    both = parts.dropna().join(evidence["evidence"])
    found = both[["effect_map", "grad_cam"]].corrwith(both["evidence"], method="spearman")
    row = row_of(judged, "effect_map", POOLED)
    assert row["difference"] == pytest.approx(found["effect_map"] - found["grad_cam"])
    assert row["pairs"] == len(both)
    assert row["difference_low"] < row["difference"] < row["difference_high"]


def test_controls_have_the_metrics_of_true_effects_alone(judged):
    controls = judged[judged["explainer"].isin([BOX_AREA, CENTRE_DISTANCE])]
    assert set(controls["metric"]) == {"true_effects", POOLED, GIVEN_AREA}
    assert set(controls[controls["metric"] == GIVEN_AREA]["explainer"]) == {CENTRE_DISTANCE}
    assert row_of(judged, CENTRE_DISTANCE, POOLED)["pairs"] > 0
