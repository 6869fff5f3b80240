"""The pull of a shortcut against its strength."""

from dataclasses import replace

import numpy as np
import pytest

from dovision.store.run_record import read_sweep
from paper.shortcut import Shortcut

SHORTCUT = Shortcut(0)


@pytest.fixture(scope="module")
def runs(map_sweep):
    return read_sweep(map_sweep)


@pytest.mark.slow
def test_other_models_have_a_figure_of_their_own_and_seeds_are_named(runs):
    asked = [[*run.overrides, "model=small_resnet"] for run in runs]
    other = [replace(run, record={**run.record, "overrides": own}) for run, own in zip(runs, asked, strict=True)]
    report_figures = list(SHORTCUT.of_sweep([*runs, *other]))
    assert [report_figure.name for report_figure in report_figures] == ["shortcut", "shortcut_2"]
    assert report_figures[1].title == "The pull of a shortcut: small ResNet"
    assert report_figures[0].data.equals(report_figures[1].data)
    assert "seeds are pooled" not in report_figures[0].caption
    again = [replace(run, record={**run.record, "seed": 1}) for run in runs]
    (pooled,) = SHORTCUT.of_sweep([*runs, *again])
    assert "The images of 2 seeds are pooled." in pooled.caption


@pytest.mark.slow
def test_the_pull_of_the_shortcut_rises_with_its_strength(runs):
    (report_figure,) = SHORTCUT.of_sweep(runs)
    data = report_figure.data
    assert list(dict.fromkeys(data["panel"])) == [
        "true effect",
        "box minus control",
        "energy on the tag",
        "energy on the rib",
    ]
    tag = data[(data["panel"] == "true effect") & (data["series"] == "tag") & (data["class"] == "nodule")]
    assert tag["x"].tolist() == [0.0, 0.5, 1.0]
    assert (np.diff(tag["mean"]) < 0).all()
    energy = data[(data["panel"] == "energy on the tag") & (data["class"] == "nodule")].set_index(["series", "x"])
    assert energy.loc[("effect_map", 1.0), "low"] > energy.loc[("grad_cam", 1.0), "high"]
    assert energy.loc[("area", 0.5), "mean"] == pytest.approx(1 / 16)
    assert energy.loc[("area", 0.0), "objects"] == 36  # two runs of 18 films are pooled
    assert len(report_figure.figure.axes) == 8


@pytest.mark.slow
def test_of_two_exclusive_classes_only_the_second_is_shown(runs):
    for run in runs:
        run.config["dataset"]["task"] = "multiclass"
    (report_figure,) = SHORTCUT.of_sweep(runs)
    for run in runs:
        run.config["dataset"]["task"] = "multilabel"
    assert set(report_figure.data["class"]) == {"opacity"}


def test_one_strength_makes_no_figure(map_run, sweep):
    assert list(SHORTCUT.of_sweep(read_sweep(map_run))) == []
    assert list(SHORTCUT.of_sweep([run for run in read_sweep(sweep) if run.state == "completed"])) == []
