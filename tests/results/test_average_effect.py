"""Average effects over images against pandas and against the interval of each mean by itself."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import EFFECT_BOUNDS, mean_interval, mean_p_value
from dovision.results import average_effect
from dovision.results.average_effect import LARGE_EFFECT, at_level, average_effects
from dovision.results.tables import read_effects, read_samples

pytestmark = pytest.mark.usefixtures("few_images")
CELL = ["condition", "unit", "class"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_run):
    return write_run(tmp_path_factory.mktemp("run"), eps=(0.2,), grid=2, images=300, maps=0).folder


def test_means_are_those_of_the_means_of_patients_by_pandas(run):
    found = average_effects(run).set_index(CELL)
    rows = read_effects(run, range(300)).merge(read_samples(run)[["sample", "condition", "group"]])
    rows = rows.astype({"effect": float, "log_odds_effect": float})
    for name, column in (("mean", "effect"), ("log_odds", "log_odds_effect")):
        truth = rows.groupby([*CELL, "group"], sort=False)[column].mean().groupby(CELL, sort=False).mean()
        pd.testing.assert_series_equal(found[name], truth, check_names=False)
    assert (found["images"] == 300).all()
    assert (found["clusters"] == 150).all()
    assert len(found) == 2 * 4 * 10


def test_intervals_are_those_of_each_mean_by_itself(run):
    found = average_effects(run)
    wide = at_level(run, found[::27], 0.999).set_index(CELL)
    found = found.set_index(CELL)
    rows = read_effects(run, range(300)).merge(read_samples(run)[["sample", "condition", "group"]])
    for cell, values in rows.groupby(CELL):
        if cell not in wide.index:
            continue
        effect, log_odds = (values[name].to_numpy(float) for name in ("effect", "log_odds_effect"))
        group = values["group"].to_numpy()
        for frame, level in ((wide, 0.999), (found, 0.95)):
            alone = mean_interval(effect, group, RESOLUTION, level, EFFECT_BOUNDS)
            assert tuple(frame.loc[cell, ["low", "high"]]) == pytest.approx((alone.low, alone.high))
        assert (found.loc[cell, "p"] < 0.05) == (not alone.low <= 0 <= alone.high)
        for frame, level in ((found, 0.95), (wide, 0.999)):
            alone = mean_interval(log_odds, group, level=level)
            assert tuple(frame.loc[cell, ["log_odds_low", "log_odds_high"]]) == pytest.approx((alone.low, alone.high))
            row = frame.loc[cell]
            beyond = values.groupby("group")["effect"].mean() * np.sign(row["log_odds"]) > LARGE_EFFECT
            exact = stats.binomtest(int(beyond.sum()), 150).proportion_ci(level)
            shares = row[["share_beyond", "share_beyond_low", "share_beyond_high"]].tolist()
            assert shares == pytest.approx((beyond.mean(), exact.low, exact.high))
        assert found.loc[cell, "log_odds_p"] == pytest.approx(mean_p_value(log_odds, group))


def test_the_result_does_not_depend_on_how_many_cells_are_summed_at_once(run, monkeypatch):
    whole = average_effects(run)
    monkeypatch.setattr(average_effect, "SUMS_AT_ONCE", 150 * 7)  # seven of the eighty cells
    pd.testing.assert_frame_equal(average_effects(run), whole)
