"""Figures are equal byte for byte for equal numbers, and draw what they are given."""

import re

import numpy as np
import pandas as pd
import pytest

from dovision.report import plots
from dovision.report.figures.mean_effects import effect_against_epsilon, parallel_coordinates
from dovision.report.image_overlay import OverlayPanel, overlay, unit_values
from dovision.report.style import WIDTHS, inline_svg, page_width, save_figure, shortened_apart, wrap_text
from dovision.types import BOX_COLUMNS

AVERAGES = pd.DataFrame(
    [
        ("clean", "u0", "cat", 0.1, 0.0, 0.2),
        ("clean", "u1", "$x$ <b>", -0.3, -0.4, -0.2),
        ("clean", "u2", "cat", 0.01, 0.0, 0.02),
        ("eps=0.1", "u0", "cat", 0.2, np.nan, np.nan),
    ],
    columns=["condition", "unit", "class", "mean", "low", "high"],
)


def curve():
    rows = [("a", 0.1, 0.3, 0.25, 0.4), ("a", 0.0, 0.2, 0.15, 0.25), ("b", 0.0, 0.1, None, None)]
    return pd.DataFrame(rows, columns=["job", "eps", "mean", "low", "high"])


def panel(title):
    values = np.linspace(-1, 1, 16).reshape(4, 4)
    boxes = pd.DataFrame(columns=BOX_COLUMNS)
    return OverlayPanel(title, np.full((4, 4), 100, np.uint8), values, boxes, {}, "cat", note="predicted: cat (0.90)")


DRAWN = {
    "curve": lambda: effect_against_epsilon(curve()),
    "averages": lambda: plots.average_effects_plot(AVERAGES),
    "pictures": lambda: overlay([panel(f"panel {number}") for number in range(4)], 0.8, columns=2, rows=("a", "b")),
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_bytes(tmp_path, name, request):
    if name not in ("curve", "pictures"):  # text and lines, and pictures, are written alike whatever they show
        request.getfixturevalue("svg_only")
    for folder in ("first", "second"):
        save_figure(DRAWN[name](), AVERAGES, tmp_path / folder, "figure")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert {"figure.csv", "figure.svg"} <= set(names) <= {f"figure.{end}" for end in ("csv", "pdf", "png", "svg")}
    assert len(names) == (4 if name in ("curve", "pictures") else 2)
    for each in names:
        first, second = ((tmp_path / folder / each).read_bytes() for folder in ("first", "second"))
        assert first == second
        assert len(first) > 100


def test_a_curve_goes_through_the_means_and_parallel_coordinates_through_the_levels():
    line = effect_against_epsilon(curve()).axes[0].lines[0]
    assert line.get_xdata().tolist() == [0.0, 0.1]
    assert line.get_ydata().tolist() == [0.2, 0.3]
    rows = pd.DataFrame(
        [("4", "8/255", 0.1), ("14", "8/255", 0.3), ("14", "2/255", 0.2)], columns=["grid", "eps", "mean"]
    )
    axes = parallel_coordinates(rows, ["grid", "eps"], "accuracy").axes[0]
    drawn = {tuple(np.round(line.get_ydata(), 6)) for line in axes.lines if len(line.get_ydata()) == 3}
    assert drawn == {(0, 1, 0), (1, 1, 1), (1, 0, 0.5)}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["grid", "eps", "accuracy"]


def test_long_names_that_differ_behind_their_beginning_are_told_apart():
    names = ["consolidation of the left lobe", "consolidation of the right lobe", "effusion"]
    names += ["cardiomegaly of the heart"]
    assert shortened_apart(names, 16) == ["…left lobe", "…right lobe", "effusion", "cardiomegaly of…"]
    assert shortened_apart(["a long name of one class"] * 2, 12) == ["a long name…"] * 2


def test_a_box_around_others_hides_none_of_them():
    boxes = {"top": 0, "left": [0, 2, 0], "bottom": 4, "right": [2, 4, 4]}
    units = pd.DataFrame({"effect": [0.5, -0.5, 0.1], **boxes})
    several, alone = (unit_values(rows, "effect", (4, 4), np.nan) for rows in (units, units[:2]))
    assert np.array_equal(several, alone)


def test_an_inline_figure_has_ids_of_its_own_and_the_colours_of_the_page(tmp_path):
    save_figure(DRAWN["averages"](), AVERAGES, tmp_path, "figure")
    text = (tmp_path / "figure.svg").read_text()
    inline = inline_svg(text, "run1-figure")
    assert inline.startswith("<svg")
    ids = set(re.findall(r'\bid="([^"]+)"', inline))
    assert all(name.startswith("run1-figure-") for name in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", inline)) | set(re.findall(r'href="#([^"]+)"', inline)) <= ids
    assert "currentColor" in inline
    assert "#1f2430" not in inline
    assert "&lt;b&gt;" in inline


@pytest.mark.parametrize("width", WIDTHS)
def test_many_panels_are_no_higher_than_a_page_and_places_without_one_are_empty(width):
    with page_width(width):
        figure, panels = plots.panel_rows([f"panel {number}" for number in range(14)], ("x", "y"), (1.35, 1.7))
        wrap_text(figure)
    assert figure.get_figheight() <= 9
    assert [axes for axes in figure.axes if axes.axison] == panels
    sizes = [axes.get_window_extent().size / figure.dpi for axes in figure.axes]
    assert np.min(sizes) > 0.35  # inches
