"""Figures of what the objects of images do: pure functions from a table to a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dovision.report.figures.map_plots import REFERENCE_MAPS
from dovision.report.style import FAINT, INK, MARKERS, PAPER, points, series, shortened, spread, styled

AREA = "area"  # the series of what a uniform map would have


@styled
def forest(frame: pd.DataFrame) -> Figure:
    """Each object's box against its control boxes, and beside it their difference.

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
        note = f"n = {images:,}" + ("" if pd.isna(p) else f", p = {p:.2g}")
        difference.annotate(
            note, (1, height), (6, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=7.5
        )
    return figure


@styled
def shortcut_lines(frame: pd.DataFrame, strength: str) -> Figure:
    """Measures against the strength of a shortcut: a row of panels a class, a line a series.

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


@styled
def cause_against_tag(pairs: pd.DataFrame, moves: pd.DataFrame) -> Figure:
    """A row a class: effect of the cause against that of the tag, a point an image; and what attacks change.

    Args:
        pairs: columns condition, class, cause, tag.
        moves: columns condition, class, kind, and change and size with _low and _high.
    """
    classes, conditions = list(dict.fromkeys(moves["class"])), list(dict.fromkeys(pairs["condition"]))
    figure = Figure(figsize=(9.2, 0.8 + 2.6 * len(classes)), layout="constrained")
    panels = figure.subplots(len(classes), 3, squeeze=False, width_ratios=(1.3, 1, 1))
    for (cloud, signed, sizes), label in zip(panels, classes, strict=True):
        own = moves[moves["class"] == label]
        kinds = list(dict.fromkeys(own["kind"]))
        for number, condition in enumerate(conditions):
            _cloud(cloud, pairs[(pairs["class"] == label) & (pairs["condition"] == condition)], condition, number)
            rows, colour = own[own["condition"] == condition], series(number - 1)["color"]
            place = np.array([kinds.index(kind) for kind in rows["kind"]], float)
            place += (number - len(conditions) / 2) * 0.5 / len(conditions)
            _whiskers(signed, rows, "change", place, colour, colour)
            _whiskers(sizes, rows, "size", place, colour, colour)
        cloud.set_title(f"effects on {shortened(label, 24)}, a point an image")
        cloud.set(xlabel="effect of taking its causes away (log-odds)", ylabel="... the tag (log-odds)")
        signed.set_title("change by the attack")
        sizes.set_title("size of the change")
        sizes.set_xlim(0, 1.05 * own["size_high"].fillna(own["size"]).max())
        for axes in (signed, sizes):
            axes.set_yticks(range(len(kinds)), [shortened(kind, 16) for kind in kinds])
            axes.set(ylim=(len(kinds) - 0.5, -0.5), xlabel="attacked minus clean (log-odds)")
            axes.grid(axis="x")
        for axes in (cloud, signed):
            axes.axvline(0, color=INK, linewidth=0.8)
        cloud.axhline(0, color=INK, linewidth=0.8)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=7.5)
    return figure


def _cloud(axes: Axes, rows: pd.DataFrame, condition: str, number: int) -> None:
    """Each image, and the mean as a large marker."""
    colour = series(number - 1)["color"]
    axes.scatter(rows["cause"], rows["tag"], s=9, color=colour, alpha=0.45, linewidths=0)
    centre: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)], "markersize": 9, "markeredgecolor": PAPER}
    axes.plot([rows["cause"].mean()], [rows["tag"].mean()], color=colour, label=condition, linestyle="none", **centre)


def _line(name: str, number: int) -> dict[str, Any]:
    if name in REFERENCE_MAPS or name == AREA:
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
