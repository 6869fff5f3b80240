"""Figures of pinned panels: one scale, letters, and images of at least 25 mm; the pull of a shortcut."""

import numpy as np
import pytest

from dovision.report.style import WIDTHS, wrap_text
from dovision.results.run_record import read_sweep
from dovision.results.tables import largest_effect, read_effects
from paper.composed import Composed, Pinned
from paper.shortcut import Shortcut


def pinned(sweep, grid, condition="clean", image="digit_0001.png"):
    return Pinned(sweep.name, image, f"{grid} x {grid} cells", condition, (f"intervention.rows={grid}",))


@pytest.mark.parametrize("width", [WIDTHS[0], WIDTHS[-1]])
def test_panels_have_letters_one_scale_and_a_caption_and_are_large_enough_for_print(sweep, width):
    panels = [pinned(sweep, 2), pinned(sweep, 4), pinned(sweep, 4, "eps=0.2")]
    drawn = Composed("films", panels, width)(sweep.parent)
    wrap_text(drawn.figure)
    assert drawn.figure.get_figwidth() == width
    images = drawn.figure.axes[:3]
    assert [axes.texts[0].get_text() for axes in images] == ["a", "b", "c"]
    assert min(axes.get_window_extent().width for axes in images) / drawn.figure.dpi > 25 / 25.4  # inches
    largest = max(largest_effect(read_effects(run.folder, [1])) for run in read_sweep(sweep)[:2])
    assert drawn.figure.axes[-1].get_ylim()[1] == pytest.approx(largest)
    assert "Panels: a, 2 x 2 cells; b, 4 x 4 cells; c, 4 x 4 cells." in drawn.caption
    assert list(drawn.data["panel"].unique()) == ["a", "b", "c"]


SHORTCUT = Shortcut(0)


@pytest.fixture(scope="module")
def runs(map_sweep):
    return read_sweep(map_sweep)


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
