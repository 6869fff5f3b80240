"""Figures of pinned panels: one scale, letters, and images of at least 25 mm in a column."""

import pytest

from dovision.report.style import WIDTHS, wrap_text
from dovision.results.run_record import read_sweep
from dovision.results.tables import largest_effect, read_effects
from paper.composed import Composed, Pinned


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
