"""Figures are equal byte for byte for equal numbers, and draw what they are given."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgba

from dovision.report import plots
from dovision.report.figures._detection_plots import score_distributions
from dovision.report.figures.effects import effect_distribution
from dovision.report.figures.gallery import gallery
from dovision.report.figures.mean_effects import effect_against_epsilon, outstanding, spread_against_epsilon
from dovision.report.plots import ecdf, heat_maps
from dovision.report.style import (
    COOL,
    DIVERGING,
    EFFECT_COLOURS,
    WARM,
    WIDTHS,
    inline_svg,
    page_width,
    save_figure,
    shortened_apart,
    wrap_text,
)

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


def distribution():
    share = np.linspace(0, 1, 5)
    values = {"clean": share * 0.1, "eps=0.1": share * 0.0}
    parts = [
        pd.DataFrame({"condition": condition, "images": 1234, "share": share, "value": v})
        for condition, v in values.items()
    ]
    return pd.concat(parts)


def gallery_frame(placed):
    rows = []
    for sample in (0, 1):
        for condition in ("clean", "eps=0.1"):
            for unit in range(2):
                box = (0, 2 * unit, 4, 2 * unit + 2) if placed else (np.nan,) * 4
                rows.append((sample, condition, f"u{unit}", "cat", 0.9, "cat", 0.9, "dog", 0.5 - unit, *box))
    columns = ["sample", "condition", "unit", "explained", "control", "predicted", "probability", "label", "effect"]
    return pd.DataFrame(rows, columns=[*columns, "top", "left", "bottom", "right"])


def pictures(shape):
    return {(s, condition): np.full(shape, 100, np.uint8) for s in (0, 1) for condition in ("clean", "eps=0.1")}


DRAWN = {
    "curve": lambda: effect_against_epsilon(curve()),
    "distribution": lambda: effect_distribution(distribution()),
    "averages": lambda: plots.average_effects_plot(AVERAGES),
    "gallery": lambda: gallery(pictures((4, 4)), gallery_frame(placed=True), largest=0.8),
    "bars": lambda: gallery(pictures((4, 4, 3)), gallery_frame(placed=False), largest=0.8),
}


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_bytes(tmp_path, name, request):
    if name not in ("curve", "gallery"):  # text and lines, and pictures, are written alike whatever they show
        request.getfixturevalue("svg_only")
    for folder in ("first", "second"):
        save_figure(DRAWN[name](), AVERAGES, tmp_path / folder, "figure")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert {"figure.csv", "figure.svg"} <= set(names) <= {f"figure.{end}" for end in ("csv", "pdf", "png", "svg")}
    assert len(names) == (4 if name in ("curve", "gallery") else 2)
    for each in names:
        first, second = ((tmp_path / folder / each).read_bytes() for folder in ("first", "second"))
        assert first == second
        assert len(first) > 100


def test_the_curve_goes_through_the_means_in_order_of_epsilon():
    line = effect_against_epsilon(curve()).axes[0].lines[0]
    assert line.get_xdata().tolist() == [0.0, 0.1]
    assert line.get_ydata().tolist() == [0.2, 0.3]


def test_of_many_jobs_the_outstanding_are_named_and_the_others_grey():
    rows = [(f"job {job}", eps, job * (1 + eps), None, None) for job in range(13) for eps in (0.0, 0.1)]
    frame = pd.DataFrame(rows, columns=["job", "eps", "mean", "low", "high"])
    drawn = effect_against_epsilon(frame)
    assert outstanding(frame) == ["job 12", "job 11", "job 10", "job 2", "job 1", "job 0"]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == [
        "job 0",
        "job 1",
        "job 2",
        "job 10",
        "job 11",
        "job 12",
    ]
    assert sum(line.get_color() == "#8a92a0" for line in drawn.axes[0].lines) == 7


@pytest.mark.parametrize(("least", "scale"), [(0.06, "linear"), (0.0, "log")])
def test_the_distribution_is_logarithmic_where_values_differ_tenfold(least, scale):
    frame = distribution().assign(value=lambda rows: rows["value"].clip(lower=least))
    axes = effect_distribution(frame).axes[0]
    assert axes.get_xscale() == scale
    assert axes.lines[0].get_xdata().min() == max(least, 1e-5)


def test_long_names_that_differ_behind_their_beginning_are_told_apart():
    names = [
        "consolidation of the left lobe",
        "consolidation of the right lobe",
        "effusion",
        "cardiomegaly of the heart",
    ]
    assert shortened_apart(names, 16) == ["…left lobe", "…right lobe", "effusion", "cardiomegaly of…"]
    assert shortened_apart(["a long name of one class"] * 2, 12) == ["a long name…"] * 2


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_conditions_without_room_side_by_side_stand_in_further_rows(width, count, recwarn):
    conditions = ["clean", *(f"eps={eps}" for eps in (0.1, 0.2, 0.3))][:count]
    frame = gallery_frame(placed=True).query("condition == 'clean'")
    frame = pd.concat([frame.assign(condition=condition) for condition in conditions])
    shown = {(sample, condition): np.full((4, 4), 100, np.uint8) for sample in (0, 1) for condition in conditions}
    with page_width(width):
        drawn = gallery(shown, frame, largest=0.8)
        wrap_text(drawn)
    assert not recwarn.list  # matplotlib warns of panels without room
    panels = [axes for axes in drawn.axes if axes.axison and axes.images]
    assert min(axes.get_window_extent().width for axes in panels[:-1]) / drawn.dpi > 25 / 25.4  # inches
    titles = [axes.get_title() for axes in panels if axes.get_title() not in ("", "image")]
    assert titles == ["clean", *(f"epsilon {eps}" for eps in (0.1, 0.2, 0.3))][:count]


def test_evidence_for_the_class_is_warm_in_a_heat_map_and_in_bars():
    table = pd.DataFrame([[-1.0, 1.0]])  # -1: do(unit) takes evidence away
    channels = heat_maps({"": table}, {"": table.astype(str)}, "effect", colours=EFFECT_COLOURS).axes[0].collections[0]
    against, for_class = DRAWN["bars"]().axes[1].patches
    assert channels.cmap(channels.norm(-1.0)) == for_class.get_facecolor() == to_rgba(WARM)
    assert channels.cmap(channels.norm(1.0)) == against.get_facecolor() == to_rgba(COOL)


def test_a_box_around_others_hides_none_of_them():
    frame = gallery_frame(placed=True)
    union = frame[frame["unit"] == "u0"].assign(unit="union", effect=0.1, left=0, right=4)
    several, alone = (
        gallery(pictures((4, 4)), rows, 1.0).axes[1].images[0] for rows in (pd.concat([frame, union]), frame)
    )
    assert np.array_equal(several.get_array(), alone.get_array())


@pytest.mark.parametrize(("images", "drawn"), [(3, "dots"), (19, "dots"), (20, "steps"), (400, "steps")])
def test_a_distribution_is_drawn_in_steps_and_of_few_images_in_dots(images, drawn):
    frame = ecdf(np.random.default_rng(0).random(images)).assign(condition="clean", images=images)
    (line,) = effect_distribution(frame).axes[0].lines
    assert (line.get_linestyle(), line.get_marker()) == (("None", "o") if drawn == "dots" else ("-", "None"))
    assert line.get_drawstyle() == "steps-post"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=500))
def test_each_point_of_a_distribution_is_a_measured_value_and_its_share(values):
    rows = ecdf(values)
    assert len(rows) == min(len(values), 200)
    assert rows["share"].iloc[-1] == 1
    below = [np.mean(np.asarray(values) <= value) for value in rows["value"]]
    last = ~rows["value"].duplicated(keep="last")
    assert (rows["share"] <= np.asarray(below) + 1e-12).all()
    if len(values) <= 200:
        assert rows.loc[last, "share"].tolist() == pytest.approx(np.asarray(below)[last])


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


def test_numbers_on_logarithmic_axes_are_written_out_on_every_figure(tmp_path):
    values = np.geomspace(1e-5, 1e3, 20)
    scores = pd.DataFrame({"detector": "margin", "condition": "clean", "images": 20, "share": values.argsort() / 19})
    spread = {end: values for end in ("low", "lower", "median", "upper", "high")}
    conditions = pd.DataFrame({"panel": "grid", "attack": "pgd", "eps": np.linspace(0, 0.3, 20), **spread})
    drawn = {
        "scores": score_distributions(scores.assign(value=values), {"margin": 1.0}),
        "spread": spread_against_epsilon(conditions),
    }
    for name, figure in drawn.items():
        save_figure(figure, conditions, tmp_path, name)
        text = (tmp_path / f"{name}.svg").read_text()
        assert "mathdefault" not in text
        assert ">0.1<" in text or ">1<" in text


@pytest.mark.parametrize("colours", [DIVERGING, EFFECT_COLOURS])
def test_the_text_of_a_cell_stands_out_from_any_colour_as_wcag_asks(colours):
    """Black on luminance L has the contrast (L + 0.05) / 0.05, white 1.05 / (L + 0.05); the least allowed is 4.5."""
    cells = colours(np.linspace(0, 1, 256))
    shares = np.where(cells[:, :3] <= 0.04045, cells[:, :3] / 12.92, ((cells[:, :3] + 0.055) / 1.055) ** 2.4)
    luminance = shares @ [0.2126, 0.7152, 0.0722]
    black = np.array([plots.contrasting(tuple(cell)) == "#000000" for cell in cells])
    contrast = np.where(black, (luminance + 0.05) / 0.05, 1.04 / (luminance + 0.05))
    assert contrast.min() >= 4.5
