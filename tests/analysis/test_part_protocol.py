"""The protocol of FunnyBirds on a run that was made up by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dovision.analysis.part_protocol import part_protocol
from dovision.functional.intervals import share_interval
from dovision.report.figures.parts import BirdParts
from dovision.store.run_record import read_sweep
from made_birds import MODELS, write_bird_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_bird_run(tmp_path_factory.mktemp("birds"))


def test_each_measure_is_the_hand_worked_one(run):
    found = part_protocol(run.folder, MODELS).set_index(["measure", "method"])
    assert found["mean"].to_dict() == {
        ("accuracy", "classifier"): pytest.approx(5 / 6),
        ("background independence", "effects"): pytest.approx(10 / 12),
        ("target sensitivity", "effects"): pytest.approx(5 / 6),  # not in the first image
        ("single deletion", "good"): pytest.approx(1),
        ("single deletion", "bad"): pytest.approx(0),
    }
    assert (found["images"] == 6).all()


def test_objects_of_one_image_count_together_in_the_interval(run):
    row = part_protocol(run.folder, MODELS).set_index("measure").loc["background independence"]
    kept = share_interval(np.array([1.0] * 8 + [1.0, 0.0] * 2), np.repeat(np.arange(6), 2))
    assert (row["low"], row["high"]) == pytest.approx((kept.low, kept.high))


def test_classes_without_two_parts_in_common_have_no_target_sensitivity(run):
    other = MODELS | {"c": dict.fromkeys(MODELS["a"], 9)}
    assert "target sensitivity" not in set(part_protocol(run.folder, other)["measure"])


def test_the_figure_is_that_of_runs_on_parts_alone(run, map_sweep):
    (figure,) = BirdParts(0).of_run(run)
    assert figure.table.loc["accuracy", "value"].startswith("0.833")
    assert "Target sensitivity" in figure.caption
    for other in read_sweep(map_sweep):
        assert list(BirdParts(0).of_run(other)) == []
