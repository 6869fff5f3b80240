"""Figures of what the parts of images do: pure functions from a table to a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.results.drawing import FAINT, INK, points, series, shortened, spread, styled
from dovision.results.map_figures import CONTROLS

AREA = "area"  # the series of what a uniform map would have


@styled
def forest(frame: pd.DataFrame) -> Figure:
    """Each part's box against its control boxes, and beside it their difference.

    Args:
        frame: columns name, images, p_holm, and box, control, difference with _low and _high.
    """
    figure = Figure(figsize=(8.6, 0.9 + 0.36 * len(frame)), layout="constrained")
    means, difference = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    place = np.arange(float(len(frame)))
    for name, shift, colour, fill in (("box", -0.13, INK, INK), ("control", 0.13, FAINT, "none")):
        _whiskers(means, frame, name, place + shift, colour, fill)
    _whiskers(difference, frame, "difference", place, series(0)["color"], series(0)["color"])
    means.set_title("effect of the box (filled) and of its controls (hollow)")
    difference.set_title("box minus control")
    means.set_yticks(place, [shortened(name, 34) for name in frame["name"]])
    means.invert_yaxis()
    for axes in (means, difference):
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("effect on the class probability")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    for height, (images, p) in enumerate(zip(frame["images"], frame["p_holm"], strict=True)):
        told = f"n = {images:,}" + ("" if pd.isna(p) else f", p = {p:.2g}")
        difference.annotate(
            told, (1, height), (6, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=7.5
        )
    return figure


@styled
def shortcut_lines(frame: pd.DataFrame, strength: str) -> Figure:
    """What changes with the strength of a shortcut: a row of panels a class, a line a series.

    Args:
        frame: columns class, panel, measure (what y is; panels of one measure share its axis), series, x, mean, low,
            high.
        strength: what x is.
    """
    classes, titles, names = (list(dict.fromkeys(frame[column])) for column in ("class", "panel", "series"))
    size = (1 + 2.7 * len(titles), 1.1 + 2.5 * len(classes))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(classes), len(titles), squeeze=False, sharex=True)
    first: dict[str, Axes] = {}  # of each measure
    for (row, column), axes in np.ndenumerate(panels):
        chosen = frame[frame["panel"] == titles[column]]
        measure = str(chosen["measure"].iloc[0])
        axes.sharey(first.setdefault(measure, axes))
        for name, rows in chosen[chosen["class"] == classes[row]].sort_values("x").groupby("series", sort=False):
            axes.errorbar(rows["x"], rows["mean"], spread(rows), label=name, **_line(str(name), names.index(name)))
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y")
        axes.set_title(titles[column] if len(classes) == 1 else f"{titles[column]}; {shortened(classes[row], 20)}")
        if first[measure] is panels[0, column]:
            axes.set_ylabel(measure)
    for axes in panels[-1]:
        axes.set_xlabel(strength)
    lines = {label: line for axes in panels.flat for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend([lines[name] for name in names], names, loc="outside lower center", ncols=8, fontsize=7.5)
    return figure


def _line(name: str, number: int) -> dict[str, Any]:
    if name in CONTROLS or name == AREA:
        return series(number) | points(number) | {"color": FAINT, "linestyle": ":" if name == AREA else "-"}
    return series(number) | points(number)


def _whiskers(
    axes: Axes,
    frame: pd.DataFrame,
    name: str,
    place: npt.ArrayLike,
    colour: str,
    fill: str,
) -> None:
    ends = frame[[name, f"{name}_low", f"{name}_high"]].set_axis(["mean", "low", "high"], axis=1)
    style: dict[str, Any] = {"marker": "o", "markersize": 4.5, "linestyle": "none", "elinewidth": 1.2, "capsize": 2.5}
    axes.errorbar(ends["mean"], place, xerr=spread(ends), color=colour, markerfacecolor=fill, **style)
