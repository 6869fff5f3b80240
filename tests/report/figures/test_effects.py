"""Which channel matters for which class."""

import numpy as np
import pytest

from dovision.report.figures.effects import Effects
from dovision.report.image_overlay import blended
from dovision.results.average_effect import average_effects
from dovision.results.run_record import read_sweep
from dovision.types import Task


@pytest.fixture(scope="module")
def runs(sweep):
    return [run for run in read_sweep(sweep) if run.state == "completed"]


def test_units_with_a_fixed_place_alone_have_average_maps(runs, map_run):
    drawn = [report_figure.name for report_figure in Effects(0, averages=10, maps=3).of_run(runs[0])]
    assert drawn == ["average_effect_maps", "average_effects"]
    for run in (runs[2], *read_sweep(map_run)):
        names = [each.name for each in Effects(0, averages=10, maps=3).of_run(run)]
        assert "average_effect_maps" not in names


def test_of_two_classes_that_exclude_each_other_each_effect_is_shown_once(runs, monkeypatch):
    averaged = average_effects(runs[0].folder)
    two = averaged[averaged["class"].isin(["0", "1"])]
    monkeypatch.setattr("dovision.report.figures.effects.read_task", lambda folder: Task("multiclass", ("0", "1")))
    monkeypatch.setattr("dovision.results.average_effect.average_effects", lambda folder: two)
    drawn = {each.name: each for each in Effects(0, averages=10, maps=3).of_run(runs[0])}
    figure = drawn["average_effects"]
    assert set(figure.data["class"]) == {"1"}
    assert f"log-odds of the class (0: the opposite): the largest of {len(two) // 2}." in figure.caption.short
    maps = drawn["average_effect_maps"]
    assert set(maps.data["class"]) == {"1"}
    assert "on each class (0: the opposite)" in maps.caption
    assert "all are drawn, without attack" in maps.caption


def test_average_effects_lie_where_their_units_do(runs):
    figure, *_ = Effects(0, averages=10, maps=3).of_run(runs[1])
    averaged = average_effects(runs[1].folder).set_index(["condition", "class", "unit"])
    assert figure.name == "average_effect_maps"
    assert figure.data["class"].nunique() == 3
    panel = figure.figure.axes[1]
    painted = panel.images[0].get_array()
    expected = averaged.loc[("clean", panel.get_title("left"), "r1c2"), "mean"]
    limit = figure.figure.axes[-1].get_ylim()[1]
    assert np.allclose(painted[8:16, 16:24], blended(np.uint8([[128]]), np.array([[-expected]]), limit)[0, 0])
