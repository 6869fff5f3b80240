"""Figure of a shortcut: effects and maps against the strength of its correlation with the label."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import EFFECT_BOUNDS, EFFECT_INTERVALS, UNBOUNDED, Bounds, mean_interval
from dovision.report.plots import REFERENCE_MAPS, draw_means, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, span
from dovision.report.style import FAINT, INK, canvas, panels_across, shortened, styled
from dovision.results.display_names import component_text, display_name, setting_name
from dovision.results.explanation_metrics import object_scores
from dovision.results.image_tables import MAPS_FILE
from dovision.results.object_effects import object_rows, paired, true_effects
from dovision.results.run_record import Run, alike
from dovision.results.tables import CLEAN

SHORTCUT = "dataset.shortcut"
TRUE, PAINTED = "true effect", "box minus control"
EFFECT, SHARE = "mean effect on\nthe probability", "share of the\nmap's positive part"
_PANEL = 1.3  # inches that a panel takes at least
AREA = "area"  # the series of what a uniform map would have


class Shortcut(FigureComponent):
    """Figure of effects and maps against the strength of the shortcut, one for each other setting.

    Runs of one strength that differ in their seed or in their intervention alone stand in one figure.
    """

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        with_shortcut = [run for run in runs if isinstance(run.config.get("dataset", {}).get("shortcut"), (int, float))]
        groups = alike(with_shortcut, apart_from=[SHORTCUT, "seed", "intervention"])
        drawn = 0
        for name, group in groups.items():
            for report_figure in _figure(group, name, f"_{drawn + 1}" if drawn else ""):
                drawn += 1
                yield report_figure


def _figure(runs: Sequence[Run], setting: str, end: str) -> Iterator[ReportFigure]:
    by_strength: dict[float, list[Run]] = {}
    for run in runs:
        by_strength.setdefault(float(run.config["dataset"]["shortcut"]), []).append(run)
    rows: list[dict[str, Any]] = []
    for strength, of_strength in sorted(by_strength.items()):
        explained = [run for run in of_strength if (run.folder / MAPS_FILE).is_file()]
        rows += _effects(strength, of_strength)
        rows += _energies(strength, explained) if explained else ()
    if len(by_strength) < 2 or not rows:
        return
    order = {TRUE: 0, PAINTED: 1}
    frame = pd.DataFrame(rows).sort_values("panel", key=lambda panel: panel.map(order).fillna(2), kind="stable")
    if runs[0].config["dataset"].get("task") == "multiclass" and frame["class"].nunique() == 2:
        frame = frame[frame["class"] != frame["class"].iloc[0]]  # its effects are the other one's with another sign
    text = (
        "Effects of each object against the correlation of the tag with the disease in the training images: the mean "
        "effect of taking the object away, and the share of each explainer's map on it (area: the share of a uniform "
        "map)."
    )
    seeds = len({run.seed for run in runs})
    pool = f" The images of {seeds} seeds are pooled." if seeds > 1 else ""
    counted = f"n = {span(frame['objects'])} objects a point.{pool}"
    words = caption(text, runs, counted, f"Whiskers: {EFFECT_INTERVALS}; of shares of maps, Student's t.", frame)
    title = f"The pull of a shortcut: {setting}" if setting else "The pull of a shortcut"
    yield ReportFigure(f"shortcut{end}", title, words, _shortcut_lines(frame), frame)


def _effects(strength: float, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Points per kind of object and class: the true effect, and the painted one if measured.

    What is painted with different fills has a series for each of them.
    """
    fills = {run.folder: component_text(run.config.get("intervention", {}).get("fill", "")) for run in runs}
    true = pd.concat([true_effects(run.folder) for run in runs])
    painted = pd.concat([paired(object_rows(run.folder)).assign(fill=fills[run.folder]) for run in runs])
    several = painted["fill"].nunique() > 1
    for frame, panel, value in ((true.assign(fill=""), TRUE, "effect"), (painted, PAINTED, "difference")):
        clean = frame[frame["condition"] == CLEAN]
        for (label, object_name, fill), of_series in clean.groupby(["class", "kind", "fill"], sort=False):
            series = f"{object_name}, {fill}" if fill and several else object_name
            at = {"class": label, "measure": EFFECT, "panel": panel, "series": series, "x": strength}
            yield at | _point(of_series, value, EFFECT_BOUNDS)


def _energies(strength: float, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Points by explainer, class and kind of non-causal object, beside a uniform map's."""
    maps = pd.concat([object_scores(run.folder) for run in runs])
    for (label, object_name), of_object in maps[maps["label"].isna()].groupby(["class", "kind"], sort=False):
        at = {"class": label, "measure": SHARE, "panel": f"energy on the {object_name}", "x": strength}
        for explainer, of_explainer in of_object.groupby("explainer", sort=False):
            yield at | {"series": explainer} | _point(of_explainer, "energy")
        yield at | {"series": AREA} | _point(of_explainer, "area")  # the same for each explainer


def _point(rows: pd.DataFrame, value: str, bounds: Bounds = UNBOUNDED) -> dict[str, Any]:
    """Mean of a column with its interval; effects with their bounds, shares within [0, 1]."""
    interval = mean_interval(rows[value].to_numpy(float), rows["group"].to_numpy(), RESOLUTION, bounds=bounds)
    return interval.within(-1 if bounds == EFFECT_BOUNDS else 0, 1).columns() | {"objects": len(rows)}


@styled
def _shortcut_lines(frame: pd.DataFrame) -> Figure:
    """Plot panels per class, a line per series; panels of one measure share their axis."""
    classes, titles, names = (list(dict.fromkeys(frame[column])) for column in ("class", "panel", "series"))
    columns = min(len(titles), panels_across(_PANEL))
    rows = -(-len(titles) // columns)
    figure = canvas(0.5 + _PANEL * columns, 0.9 + 1.7 * rows * len(classes))
    panels = figure.subplots(rows * len(classes), columns, squeeze=False, sharex=True)
    heads = set(frame.drop_duplicates("measure")["panel"])  # the first panel of each measure
    first: dict[str, Axes] = {}  # of each measure
    for panel_number, (label, title) in enumerate(itertools.product(classes, titles)):
        row, column = divmod(panel_number % len(titles), columns)
        axes = panels[panel_number // len(titles) * rows + row, column]
        chosen = frame[(frame["panel"] == title) & (frame["class"] == label)].sort_values("x")
        measure = str(frame.loc[frame["panel"] == title, "measure"].iloc[0])
        axes.sharey(first.setdefault(measure, axes))
        for name, series in chosen.groupby("series", sort=False):
            look: dict[str, Any] = {"color": FAINT, "linestyle": ":" if name == AREA else "-"}
            compared = name in (*REFERENCE_MAPS, AREA)  # series that are there for comparison
            compared_look = look if compared else {}
            draw_means(axes, series["x"], series, names.index(name), display_name(str(name)), **compared_look)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y")
        axes.set_title(title if len(classes) == 1 else f"{title}\n{shortened(label, 20)}")
        if column == 0 or titles[panel_number % len(titles)] in heads:
            axes.set_ylabel(measure)
        if row == rows - 1 or panel_number % len(titles) + columns >= len(titles):  # no panel of the class below it
            axes.set_xlabel(textwrap.fill(setting_name(SHORTCUT), 16))
            axes.tick_params(labelbottom=True)
    for axes in panels.flat:
        if not axes.get_title(loc="left"):
            axes.set_axis_off()
    return with_legend(figure)
