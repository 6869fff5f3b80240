"""The pull of a shortcut."""

import numpy as np
import pytest

from dovision.results.run_record import read_sweep
from paper.shortcut import Shortcut

SHORTCUT = Shortcut(0)


def test_the_pull_of_the_shortcut_rises_with_its_strength(map_sweep):
    runs = read_sweep(map_sweep)
    (report_figure,) = SHORTCUT.of_sweep(runs)
    data = report_figure.data
    panels = ["true effect", "box minus control", "energy on the tag", "energy on the rib"]
    assert list(dict.fromkeys(data["panel"])) == panels
    tag = data[(data["panel"] == "true effect") & (data["series"] == "tag") & (data["class"] == "nodule")]
    assert tag["x"].tolist() == [0.0, 0.5, 1.0]
    assert (np.diff(tag["mean"]) < 0).all()
    energy = data[(data["panel"] == "energy on the tag") & (data["class"] == "nodule")].set_index(["series", "x"])
    assert energy.loc[("effect_map", 1.0), "low"] > energy.loc[("grad_cam", 1.0), "high"]
    assert energy.loc[("area", 0.5), "mean"] == pytest.approx(1 / 16)
    assert energy.loc[("area", 0.0), "objects"] == 36  # two runs of 18 films are pooled
    assert len(report_figure.figure.axes) == 8
