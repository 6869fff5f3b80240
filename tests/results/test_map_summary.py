"""Average scores, and differences to the reference on the same images."""

import numpy as np
import pandas as pd
import pytest

from dovision.effects import holm, mean_interval, mean_p_value
from dovision.results.agreements import METRICS, agreements
from dovision.results.map_summary import label_scores, reference, scores


def frame_of(values, explainers=("a", "b"), label="x"):
    """A row per sample and explainer; each metric has the value of values[explainer][sample]."""
    rows = [
        {
            "sample": sample,
            "group": sample // 2,
            "class": label,
            "explainer": name,
            "correct": sample > 1,
            "state": "ok",
        }
        | dict.fromkeys(METRICS, value)
        for name, found in zip(explainers, values, strict=True)
        for sample, value in enumerate(found)
    ]
    return pd.DataFrame(rows)


def row_of(table, explainer, metric="energy", cases="all"):
    chosen = table[(table["explainer"] == explainer) & (table["metric"] == metric) & (table["cases"] == cases)]
    return chosen.iloc[0]


def test_a_score_is_the_mean_with_its_cluster_interval():
    values = np.random.default_rng(0).random(12)
    row = row_of(scores(frame_of([values, values]), seed=3), "a")
    assert tuple(row[["mean", "low", "high", "clusters"]]) == mean_interval(values, np.arange(12) // 2, 3)
    assert (row["scored"], row["maps"], row["flagged"]) == (12, 12, 0)


def test_only_right_cases_count_as_correct():
    row = row_of(scores(frame_of([[9, 9, 1, 2, 3, 4]] * 2), seed=0), "a", cases="correct")
    assert (row["mean"], row["maps"]) == (2.5, 4)


def test_the_difference_is_paired_and_leaves_out_what_one_side_lacks():
    first, second = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 2.5, np.nan, 5, 7, 6.5])
    row = row_of(scores(frame_of([first, second]), seed=0), "b")
    difference = second - first
    groups = np.arange(6) // 2
    assert row["pairs"] == 5
    assert row["difference"] == pytest.approx(np.nanmean(difference))
    assert row["difference_low"] == pytest.approx(mean_interval(difference, groups, 0).low)
    assert row["p"] == mean_p_value(difference, groups, 0)


def test_the_reference_is_grad_cam_or_the_first_and_has_no_difference_to_itself():
    assert reference(pd.Series(["b", "grad_cam"])) == "grad_cam"
    assert reference(pd.Series(["b", "a", "b"])) == "b"
    row = row_of(scores(frame_of([[1.0, 2, 3]] * 2), seed=0), "a")
    assert row["pairs"] == 0
    assert np.isnan(row["difference"])


def test_p_values_are_adjusted_over_the_classes_of_one_metric_of_one_explainer():
    random = np.random.default_rng(1)
    frame = pd.concat(
        frame_of([random.normal(0, 1, 30), random.normal(shift, 1, 30)], label=label)
        for label, shift in (("x", 0.0), ("y", 0.5), ("z", 2.0))
    )
    table = label_scores(frame, seed=0)
    rows = table[(table["explainer"] == "b") & (table["metric"] == "iou") & (table["cases"] == "all")]
    assert rows["label"].tolist() == ["x", "y", "z"]
    np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))
    assert (rows["p_bh"] <= rows["p_holm"]).all()
    assert table.loc[table["explainer"] == "a", "p_holm"].isna().all()


def test_flagged_maps_are_counted_and_not_scored(map_run):
    row = row_of(scores(agreements(map_run), seed=0), "grad_cam")
    assert (row["maps"], row["flagged"], row["scored"]) == (42, 1, 41)


def test_knowing_the_parts_scores_above_chance_with_intervals_apart(map_run):
    table = scores(agreements(map_run), seed=0)
    for metric in ("pointing", "energy", "iou"):
        assert row_of(table, "grad_cam", metric)["low"] > row_of(table, "random_map", metric)["high"]
    assert row_of(table, "effect_map", "true_effects")["difference_low"] > 0
