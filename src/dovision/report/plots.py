"""Pieces that several figures draw: panels, dots with intervals, and one legend for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.report.style import (
    INK,
    PAGE,
    canvas,
    panels_across,
    points,
    series,
    shortened_apart,
    styled,
)
from dovision.results.display_names import display_name

# They know nothing of the classifier; drawn in grey.
REFERENCE_MAPS = ("random_map", "center_map", "edge_map", "brightness_map")


def panel_rows(
    names: Iterable[str], labels: tuple[str, str], size: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """Create a panel for each name, in as many rows as needed.

    Args:
        names: titles of the panels.
        labels: of x, below the last panel of each column, and of y, at the first panel of each row.
        size: least width, and height of a panel, in inches.
        shared: which axes the panels share.
    """
    titles = list(names)
    columns = min(len(titles), panels_across(size[0]))
    rows = -(-len(titles) // columns)
    figure = canvas(0.5 + size[0] * columns, min(PAGE, 0.7 + size[1] * rows))
    panels = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title)
        axes.locator_params(axis="x", nbins=3)
    for axes in panels[len(titles) - columns : len(titles)]:
        axes.set_xlabel(labels[0])
    for axes in panels[::columns]:
        axes.set_ylabel(labels[1])
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    return figure, panels[: len(titles)]


def with_legend(figure: Figure, panels: Iterable[Axes] | None = None) -> Figure:
    """Add one legend below all panels, each name once, in as many columns as fit."""
    handle_by_label: dict[str, Any] = {}
    for axes in figure.axes if panels is None else panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handle_by_label.setdefault(label, handle)
    columns = max(1, int(figure.get_figwidth() / (0.06 * max(map(len, handle_by_label)) + 0.5)))
    figure.legend(list(handle_by_label.values()), list(handle_by_label), loc="outside lower center", ncols=columns)
    return figure


def draw_means(
    axes: Axes,
    position: npt.ArrayLike,
    rows: pd.DataFrame,
    number: int,
    label: str = "",
    across: bool = False,
    **look: Any,
) -> None:
    """Draw means with whiskers, joined by a line, or, across, as a list from top to bottom.

    Args:
        axes: to draw on.
        position: where each mean stands along x, or, across, along y.
        rows: columns mean, low, high; nan draws no whisker.
        number: of the series, whose look it is; -1 is the clean condition.
        label: for the legend, or empty.
        across: the means lie along x.
        look: what differs from that look.
    """
    mean, low, high = rows[["mean", "low", "high"]].to_numpy(float).T
    style = series(number) | points(number) | ({"linestyle": "none"} if across else {}) | look
    style["xerr" if across else "yerr"] = np.stack([mean - low, high - mean]).clip(min=0)
    axes.errorbar(*((mean, position) if across else (position, mean)), label=label or None, **style)


def name_rows(axes: Axes, names: Iterable[str], length: int = 34) -> None:
    """Label rows from top to bottom, and draw a line at no effect."""
    shown = shortened_apart(names, length)
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(axis="x")


def strongest(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Rows of the (unit, class) pairs with the largest mean in any condition, strongest first.

    Args:
        frame: columns condition, unit, class, mean.
        most: pairs that are chosen.
    """
    size = frame["mean"].abs().groupby([frame["unit"], frame["class"]], sort=False).max()
    pairs = size.sort_values(ascending=False, kind="stable").index[:most]
    rank = pd.MultiIndex.from_frame(frame[["unit", "class"]]).map(dict(zip(pairs, range(most), strict=False)))
    return frame.assign(place=rank).dropna(subset=["place"]).sort_values("place", kind="stable").drop(columns="place")


@styled
def average_effects_plot(frame: pd.DataFrame, label: str = "average effect on the class probability") -> Figure:
    """Plot average effects with intervals, conditions side by side.

    Args:
        frame: columns condition, unit, class, mean, low, high; pairs of unit and class in the order in which they are
            drawn.
        label: of the numbers.
    """
    pairs = list(dict.fromkeys(zip(frame["unit"], frame["class"], strict=True)))
    conditions = frame.set_index(["unit", "class"]).groupby("condition", sort=False)
    units, classes = (shortened_apart((pair[column] for pair in pairs), 24) for column in (0, 1))
    names = [f"do({unit}) on {name}" for unit, name in zip(units, classes, strict=True)]
    return forest(names, {"": {display_name(str(name)): rows.reindex(pairs) for name, rows in conditions}}, label)


@styled
def forest(names: Sequence[str], panels: Mapping[str, Mapping[str, pd.DataFrame]], label: str) -> Figure:
    """Plot dots with intervals, a row per name, beside a line at 0.

    Args:
        names: of the rows, from above.
        panels: by title, series by their names: columns mean, low and high, a row per name; nan draws nothing.
        label: of the numbers.
    """
    looks = list(dict.fromkeys(name for of_panel in panels.values() for name in of_panel))
    most = max(map(len, panels.values()))
    figure = canvas(5.0 + 1.0 * (len(panels) > 1), 0.6 + (0.14 + 0.09 * most) * len(names))
    drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    name_rows(drawn[0], names, 60)
    for axes, (title, of_panel) in zip(drawn, panels.items(), strict=True):
        for number, (name, rows) in enumerate(of_panel.items()):
            position = np.arange(len(names)) + (number - (len(of_panel) - 1) / 2) * 0.7 / len(of_panel)
            look = looks.index(name)
            draw_means(axes, position, rows, look - 1, name, across=True, **points(look))
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set(title=title, xlabel=label)
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x")
    return with_legend(figure) if len(looks) > 1 else figure


def interval_columns(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Columns NAME, NAME_low and NAME_high as mean, low and high."""
    return frame[[name, f"{name}_low", f"{name}_high"]].set_axis(["mean", "low", "high"], axis=1)
