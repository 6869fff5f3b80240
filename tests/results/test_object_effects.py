"""True effects of objects, boxes against their controls, and what attacks change, on effects made up by hand."""

import numpy as np
import pytest

from dovision.functional.intervals import EFFECT_BOUNDS, holm, mean_interval
from dovision.results.object_effects import contrasts, object_effects, object_rows, paired
from dovision.results.tables import read_effects


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


def test_controls_are_averaged_within_the_image_and_a_labelled_object_is_judged_on_its_class(painted_run):
    both = paired(object_rows(painted_run)).set_index(["sample", "object", "class"])
    effects = read_effects(painted_run, [7]).set_index(["unit", "class"])["effect"]
    row = both.loc[(7, "tag", "opacity")]
    controls = effects[("tag control 0", "opacity")], effects[("tag control 1", "opacity")]
    assert row["control"] == pytest.approx(np.mean(controls))
    assert row["difference"] == pytest.approx(effects[("tag", "opacity")] - np.mean(controls))
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
