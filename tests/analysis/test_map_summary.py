"""Average scores, and differences to the reference on the same images."""

import numpy as np
import pandas as pd
import pytest

from dovision.analysis.explanation_metrics import MAP_METRICS, agreements
from dovision.analysis.map_summary import label_scores, reference, scores
from dovision.functional.intervals import holm, mean_interval, mean_p_value, share_interval


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
        | dict.fromkeys(MAP_METRICS, value)
        for name, found in zip(explainers, values, strict=True)
        for sample, value in enumerate(found)
    ]
    return pd.DataFrame(rows)


def row_of(table, explainer, metric="energy", cases="all"):
    chosen = table[(table["explainer"] == explainer) & (table["metric"] == metric) & (table["cases"] == cases)]
    return chosen.iloc[0]


def test_a_score_is_the_mean_with_its_cluster_interval():
    values = np.random.default_rng(0).random(12)
    row = row_of(scores(frame_of([values, values])), "a")
    expected = mean_interval(values, np.arange(12) // 2)
    assert tuple(row[["mean", "low", "high", "clusters"]]) == expected[:4]
    assert row["reason"] == ""
    assert (row["scored"], row["maps"], row["flagged"]) == (12, 12, 0)


def test_only_right_cases_count_as_correct():
    row = row_of(scores(frame_of([[9, 9, 1, 2, 3, 4]] * 2)), "a", cases="correct")
    assert (row["mean"], row["maps"]) == (2.5, 4)


def test_the_difference_is_paired_and_leaves_out_what_one_side_lacks():
    first, second = np.arange(1.0, 9), np.array([2.0, 2.5, np.nan, 5, 7, 6.5, 7, 8.1])
    row = row_of(scores(frame_of([first, second])), "b")
    difference = second - first
    groups = np.arange(8) // 2
    assert row["pairs"] == 7
    assert row["difference"] == pytest.approx(np.nanmean(difference))
    assert row["difference_low"] == pytest.approx(mean_interval(difference, groups).low)
    assert row["p"] == mean_p_value(difference, groups)


def test_the_reference_is_grad_cam_or_the_first_and_has_no_difference_to_itself():
    assert reference(pd.Series(["b", "grad_cam"])) == "grad_cam"
    assert reference(pd.Series(["b", "a", "b"])) == "b"
    row = row_of(scores(frame_of([[1.0, 2, 3]] * 2)), "a")
    assert row["pairs"] == 0
    assert np.isnan(row["difference"])


def test_p_values_are_adjusted_over_the_explainers_and_classes_of_one_metric():
    random = np.random.default_rng(1)
    frame = pd.concat(
        frame_of(random.normal([[0], [shift], [0]], 1, (3, 30)), ("a", "b", "c"), label)
        for label, shift in (("x", 0.0), ("y", 0.5), ("z", 2.0))
    )
    table = label_scores(frame)
    rows = table[(table["explainer"] != "a") & (table["metric"] == "iou") & (table["cases"] == "all")]
    assert rows["label"].tolist() == ["x", "x", "y", "y", "z", "z"]
    np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))
    assert (rows["p_bh"] <= rows["p_holm"]).all()
    assert table.loc[table["explainer"] == "a", "p_holm"].isna().all()


def test_p_values_of_a_table_are_adjusted_over_the_whole_of_it():
    table = scores(frame_of(np.random.default_rng(2).normal([[0], [1], [2]], 1, (3, 30)), ("a", "b", "c")))
    np.testing.assert_allclose(table["p_holm"], holm(table["p"].to_numpy()))
    assert table["p"].notna().sum() == 2 * 2 * len(MAP_METRICS)


def test_hits_and_misses_are_a_share(map_run):
    row = row_of(scores(agreements(map_run)), "grad_cam", "pointing")
    rows = agreements(map_run).query("explainer == 'grad_cam'")
    expected = share_interval(rows["pointing"].to_numpy(float), rows["group"].to_numpy())
    assert tuple(row[["mean", "low", "high", "clusters"]]) == expected[:4]


def test_flagged_maps_are_counted_and_not_scored(map_run):
    row = row_of(scores(agreements(map_run)), "grad_cam")
    assert (row["maps"], row["flagged"], row["scored"]) == (42, 1, 41)


def test_knowing_the_parts_scores_above_chance_with_intervals_apart(map_run):
    table = scores(agreements(map_run))
    for metric in ("pointing", "energy", "iou"):
        assert row_of(table, "grad_cam", metric)["low"] > row_of(table, "random_map", metric)["high"]
    assert row_of(table, "effect_map", "true_effects")["difference_low"] > 0
