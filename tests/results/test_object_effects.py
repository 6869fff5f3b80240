"""True effects of objects, boxes against their controls, and what attacks change, on effects made up by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dovision.functional.intervals import EFFECT_BOUNDS, holm, mean_interval
from dovision.results.object_effects import (
    contrasts,
    object_effects,
    object_rows,
    paired,
)
from dovision.results.tables import read_effects

OBJECTS = {"nodule0": "nodule", "nodule1": "nodule", "tag": None, "rib": None}
CLEAN = {"nodule0": -2.0, "nodule1": -1.0, "tag": -0.5, "rib": 0.0}
SHIFT = {"nodule0": 1.0, "nodule1": 1.0, "tag": -3.0, "rib": 0.0}  # by the attack


def test_the_rows_of_objects_know_their_kind_label_and_group(map_run):
    rows = object_rows(map_run)
    assert len(rows) == 2 * (24 * 3 + 18)  # an absent object has no row
    row = rows[(rows["object"] == "nodule1") & (rows["sample"] == 5)].iloc[0]
    assert tuple(row[["group", "kind", "label", "control"]]) == (2, "nodule", "nodule", False)
    assert rows.loc[rows["kind"] == "tag", "label"].isna().all()


def test_another_intervention_or_a_run_without_boxes_measures_no_objects(tmp_path, write_run, map_run):
    write_run(tmp_path, images=4, eps=(), maps=0)
    assert object_rows(tmp_path).empty
    (tmp_path / "boxes.parquet").write_bytes((map_run / "boxes.parquet").read_bytes())
    assert object_rows(tmp_path).empty
    assert object_effects(tmp_path).empty
    assert contrasts(tmp_path).empty


def test_the_mean_true_effect_is_that_of_the_rows(map_run):
    frame = object_effects(map_run).set_index(["condition", "kind", "class"])
    assert len(frame) == 8
    effects = read_effects(map_run, range(24))
    values = effects[(effects["unit"] == "nodule1") & (effects["class"] == "nodule")]
    interval = mean_interval(values["effect"].to_numpy(float), values["sample"].to_numpy() // 2, bounds=EFFECT_BOUNDS)
    found = frame.loc[("clean", "nodule", "nodule")]
    assert tuple(found[["mean", "low", "high", "clusters"]]) == pytest.approx(interval[:4])
    assert (found["images"], found["objects"]) == (18, 18)
    assert frame.loc[("clean", "rib", "nodule"), "low"] < 0 < frame.loc[("clean", "rib", "nodule"), "high"]
    assert frame.loc[("clean", "tag", "opacity"), "log_odds_high"] < -0.2


def test_the_controls_of_a_box_are_averaged_within_the_image(painted_run):
    both = paired(object_rows(painted_run)).set_index(["sample", "object", "class"])
    effects = read_effects(painted_run, [7]).set_index(["unit", "class"])["effect"]
    row = both.loc[(7, "tag", "opacity")]
    controls = effects[("tag control 0", "opacity")], effects[("tag control 1", "opacity")]
    assert row["control"] == pytest.approx(np.mean(controls))
    assert row["difference"] == pytest.approx(effects[("tag", "opacity")] - np.mean(controls))


def test_a_box_without_controls_is_not_compared():
    rows = {
        "sample": [0, 0, 1],
        "object": ["a", "a", "a"],
        "control": [False, True, False],
        "effect": [-0.4, -0.1, -0.9],
        "log_odds_effect": [-4.0, -1.0, -9.0],
    }
    frame = pd.DataFrame(rows).assign(condition="clean", kind="a", label=None, group=0, **{"class": "x"})
    assert paired(frame)[["sample", "difference", "log_odds"]].to_numpy().tolist() == [[0, pytest.approx(-0.3), -3]]


def test_a_labelled_object_is_judged_on_its_class_and_any_other_on_each(painted_run):
    frame = contrasts(painted_run)
    pairs = set(zip(frame["kind"], frame["class"], strict=True))
    others = {(kind, label) for kind in ("tag", "rib") for label in ("nodule", "opacity")}
    assert pairs == {("nodule", "nodule"), ("opacity", "opacity")} | others
    np.testing.assert_allclose(frame["difference"], frame["box"] - frame["control"], atol=1e-12)
    np.testing.assert_allclose(frame["p_holm"], holm(frame["p"].to_numpy()))
    by_kind = frame.set_index(["kind", "class"])
    assert by_kind.loc[("nodule", "nodule"), "log_odds_high"] < -0.2
    assert by_kind.loc[("rib", "nodule"), "p_holm"] > 0.05
    assert (by_kind["clusters"] == 12).all()
