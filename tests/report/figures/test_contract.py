"""Contract of every figure of conf/, tested unlisted."""

import itertools
from pathlib import Path

import matplotlib.text
import pytest
from hydra.utils import instantiate
from matplotlib.axis import Axis
from matplotlib.transforms import Bbox
from omegaconf import OmegaConf

from dovision.io.paths import file_name
from dovision.report.report_figure import Catalogue, FigureComponent, ReportFigure
from dovision.report.style import PAGE, WIDTHS, page_width, wrap_text
from dovision.results.run_record import Run, read_sweep

CONF = Path(__file__).resolve().parents[3] / "conf"
FIGURES = {**OmegaConf.load(CONF / "figure.yaml")}
FIGURES |= {path.stem: OmegaConf.load(path) for path in (CONF / "figure").glob("*.yaml")}  # a user's own


@pytest.fixture(params=sorted(FIGURES))
def component(request) -> FigureComponent:
    return instantiate(FIGURES[request.param], _convert_="all")


@pytest.fixture(scope="module")
def sweeps(sweep, map_sweep) -> list[list[Run]]:
    """Runs of cells and of latent channels; runs of objects, with maps."""
    return [[run for run in read_sweep(folder) if run.state == "completed"] for folder in (sweep, map_sweep)]


def test_it_draws_of_a_run_or_of_several(component):
    own = type(component)
    assert isinstance(component, FigureComponent)
    assert own.of_run is not FigureComponent.of_run or own.of_sweep is not FigureComponent.of_sweep


def test_each_has_a_place_of_its_own():
    places = [component.order for component in Catalogue().components]
    assert len(places) == len(FIGURES)
    assert places == sorted(set(places))


def drawn(component, sweeps) -> list[ReportFigure]:
    of_runs = [one for runs in sweeps for one in component.of_run(runs[-1])]
    return [*of_runs, *(one for runs in sweeps for one in component.of_sweep(runs))]


def test_figures_have_names_words_numbers_and_a_width_of_print_whenever_they_are_drawn(component, sweeps):
    with page_width(WIDTHS[0]):
        narrow = drawn(component, sweeps)
    wide = drawn(component, sweeps)
    check_sizes(narrow, WIDTHS[0])
    check_sizes(wide, WIDTHS[-1])
    for one, again in zip(wide, narrow, strict=True):
        assert file_name("the name of a figure", one.name) == one.name
        assert one.title
        assert one.caption.endswith(".")
        assert "  " not in one.caption
        assert "n = " in one.caption or "n: " in one.caption
        assert len(one.data)
        assert again.data.equals(one.data)
        assert one.caption == again.caption


def check_sizes(figures: list[ReportFigure], most: float) -> None:
    """Hold widths against those of print, and letters against the least and the greatest size."""
    for one in (one for one in figures if one.figure is not None):
        assert one.figure.get_figwidth() in [width for width in WIDTHS if width <= most]
        assert one.figure.get_figheight() <= PAGE, one.name
        check_places(one)
        sizes = [text.get_fontsize() for text in one.figure.findobj(matplotlib.text.Text) if text.get_text()]
        assert min(sizes) >= 6.5
        assert max(sizes) <= 8


def check_places(one: ReportFigure) -> None:
    """All text lies on the canvas; no title of a panel runs into another's, and no tick label into its neighbour."""
    wrap_text(one.figure)
    page, least = one.figure.bbox, -0.02 * one.figure.dpi
    titles: list[tuple[str, Bbox]] = []
    for axes in one.figure.axes:
        heads = [one for one in axes.get_children() if isinstance(one, matplotlib.text.Text) and one not in axes.texts]
        for text in (
            one for one in (*heads, axes.xaxis.label, axes.yaxis.label) if one.get_text() and one.get_visible()
        ):
            box = text.get_window_extent()
            inside = min(box.x0, box.y0, page.x1 - box.x1, page.y1 - box.y1)
            assert inside >= least, (one.name, text.get_text(), box, page)
            titles += [(text.get_text(), box)] if text in heads else []
        for axis in (axes.xaxis, axes.yaxis):
            check_apart(one.name, tick_labels(axis))
    check_apart(one.name, titles)


def tick_labels(axis: Axis) -> list[tuple[str, Bbox]]:
    """The labels that are seen on an axis, with their places; of a slanted one that of its last letter."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    seen = [tick.label1 for tick in ticks if tick.label1.get_visible() and axis.get_visible() and axis.axes.axison]
    return [(text.get_text(), place(text)) for text in seen if text.get_text()]


def place(text: matplotlib.text.Text) -> Bbox:
    box = text.get_window_extent()
    if text.get_rotation() % 90 == 0:
        return box
    letter = text.get_fontsize() * text.figure.dpi / 72
    return Bbox.from_bounds(box.x1 - letter, box.y1 - letter, letter, letter)


def check_apart(name: str, texts: list[tuple[str, Bbox]]) -> None:
    for (text, box), (other, beside) in itertools.combinations(texts, 2):
        overlap = min(box.x1, beside.x1) - max(box.x0, beside.x0), min(box.y1, beside.y1) - max(box.y0, beside.y0)
        assert min(overlap) < 1, (name, text, other)


def test_a_width_that_no_page_has_is_refused():
    with pytest.raises(ValueError, match="figure_width must be one of 3.25, 5.5, 6.75 inches, got 4"), page_width(4):
        pass
