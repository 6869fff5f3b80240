"""Average effects over images against pandas and against the plain cluster bootstrap."""

import numpy as np
import pandas as pd
import pytest

from dovision.effects import mean_interval
from dovision.results import averages, tables
from dovision.results.averages import average_effects
from dovision.results.tables import read_effects, read_samples

CELL = ["arm", "unit", "class"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_run):
    return write_run(tmp_path_factory.mktemp("run"), eps=(0.2,), grid=2, images=300, maps=0).path


def test_means_are_those_of_pandas(run):
    found = average_effects(run, seed=0, draws=10)
    truth = read_effects(run, range(300)).astype({"effect": float}).groupby(CELL, sort=False)["effect"].mean()
    pd.testing.assert_series_equal(found.set_index(CELL)["mean"], truth, check_names=False)
    assert (found["images"] == 300).all()
    assert len(found) == 2 * 4 * 10


def test_intervals_are_those_of_the_cluster_bootstrap(run):
    found = average_effects(run, seed=0).set_index(CELL)
    rows = read_effects(run, range(300)).merge(read_samples(run)[["sample", "arm", "group"]])
    for cell, values in list(rows.groupby(CELL))[::11]:
        plain = mean_interval(values["effect"].to_numpy(float), values["group"].to_numpy(), seed=1)
        width = plain.high - plain.low
        assert found.loc[cell, "low"] == pytest.approx(plain.low, abs=0.12 * width)
        assert found.loc[cell, "high"] == pytest.approx(plain.high, abs=0.12 * width)


def test_the_result_does_not_depend_on_how_the_table_was_cut(run, monkeypatch):
    whole = average_effects(run, seed=0, draws=50)
    cut = tables.row_groups

    def slices(path, columns=None, samples=None):
        for table in cut(path, columns, samples):
            for start in range(0, len(table), 997):
                yield table.slice(start, 997)

    monkeypatch.setattr(averages, "row_groups", slices)
    pd.testing.assert_frame_equal(average_effects(run, seed=0, draws=50), whole)


def test_the_resamples_depend_on_the_seed_alone(run):
    first, again, other = (average_effects(run, seed, draws=50) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not np.allclose(first["low"], other["low"])
    assert first["mean"].equals(other["mean"])


def test_one_group_has_a_mean_and_no_interval(tmp_path, write_run):
    run = write_run(tmp_path, eps=(), grid=2, images=2, maps=0)  # both images of one patient
    found = average_effects(run.path, seed=0, draws=100)
    assert found["mean"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)
