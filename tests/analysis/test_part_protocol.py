"""The numbers of the protocol of FunnyBirds from a table of scores that was made up by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dovision.analysis.part_protocol import NOT_DRAWN, part_protocol
from dovision.functional.intervals import share_interval
from dovision.report.figures.parts import BirdParts
from dovision.store.map_tables import PART_THRESHOLDS
from dovision.store.run_record import read_sweep
from made_birds import write_bird_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_bird_run(tmp_path_factory.mktemp("birds"))


def test_each_number_is_the_hand_worked_one(run):
    found = part_protocol(run.folder).set_index(["measure", "method"])
    assert found["mean"].dropna().to_dict() == {
        ("accuracy", "classifier"): pytest.approx(5 / 6),
        ("background_independence", "classifier"): pytest.approx(10 / 12),
        ("controlled_check", "good"): 1,
        ("preservation_check", "good"): 0.5,
        ("distractibility", "good"): 1,
        ("part_deletion", "good"): 1,
        ("controlled_check", "bad"): 0,
        ("preservation_check", "bad"): 0,
        ("distractibility", "bad"): 0,
        ("part_deletion", "bad"): 0,
    }
    missing = found[found["mean"].isna()]
    assert set(missing["reason"]) == {NOT_DRAWN}
    assert set(missing.index.get_level_values("measure")) == {"deletion_check", "target_sensitivity"}
    assert found.loc[("controlled_check", "good"), "threshold"] == PART_THRESHOLDS[0]
    assert found.loc[("distractibility", "good"), "drawn"] == pytest.approx(2 / 3)
    assert found.loc[("controlled_check", "good"), "images"] == 5  # those that are predicted rightly


def test_objects_of_one_image_count_together_in_the_interval(run):
    row = part_protocol(run.folder).set_index("measure").loc["background_independence"]
    kept = share_interval(np.array([1.0] * 8 + [1.0, 0.0] * 2), np.repeat(np.arange(6), 2))
    assert (row["low"], row["high"]) == pytest.approx((kept.low, kept.high))


def test_the_figure_is_that_of_runs_by_the_protocol_alone(run, map_sweep):
    (figure,) = BirdParts(0).of_run(run)
    assert figure.table.loc["accuracy", "value"].startswith("0.833")
    assert "as its authors compute" in figure.caption
    for other in read_sweep(map_sweep):
        assert list(BirdParts(0).of_run(other)) == []
