"""Figures of detection: pure functions from a table to a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dovision.report.ecdf import draw_ecdf
from dovision.report.latex import Ruled
from dovision.report.style import (
    COLOURS,
    FAINT,
    INK,
    LINE,
    PAPER,
    logarithmic,
    points,
    series,
    shortened,
    spread,
    styled,
)
from dovision.store.detection_tables import NOISE
from dovision.store.tables import CLEAN

_ACROSS = 3  # panels side by side
ATTACKS_CLEAN, ATTACKS_NOISE = "attacks against clean", "attacks against noise"
WORST_CLEAN, WORST_NOISE = "worst case against clean", "worst case against noise"
NOISE_CLEAN = "noise itself against clean"
LINES: dict[str, dict[str, Any]] = {
    ATTACKS_CLEAN: {"color": COLOURS[0]},
    ATTACKS_NOISE: {"color": COLOURS[1], "linestyle": "--"},
    WORST_CLEAN: {"color": INK, "marker": "o", "markersize": 4},
    WORST_NOISE: {"color": INK, "marker": "s", "markersize": 4, "linestyle": "--"},
    NOISE_CLEAN: {"color": FAINT, "marker": "^", "markersize": 4, "linestyle": ":"},
}
RATE_MARKERS = {"1": "o", "5": "s"}  # of the points in use, by the rate in percent


@styled
def operating_curves_plot(curves: pd.DataFrame, operating: pd.DataFrame) -> Figure:
    """ROC (above) and precision-recall (below) of each detector, a column an epsilon.

    Args:
        curves: columns detector, eps, false, found, precision, along each curve.
        operating: the points in use: columns detector, eps, rate (text), false, found, precision.
    """
    known = list(dict.fromkeys(curves["eps"]))
    figure = Figure(figsize=(0.6 + 2.9 * max(len(known), 2), 5.6), layout="constrained")
    panels = figure.subplots(2, len(known), squeeze=False, sharex="row", sharey=True)
    number = {name: i for i, name in enumerate(dict.fromkeys(curves["detector"]))}
    lowest = max(curves.loc[curves["false"] > 0, "false"].min(), 1e-4)
    for column, eps in enumerate(known):
        for axes, across, up in zip(panels[:, column], ("false", "found"), ("found", "precision"), strict=True):
            for name, rows in curves[curves["eps"] == eps].groupby("detector", sort=False):
                look = series(number[name]) | {"drawstyle": "steps-post"}
                axes.plot(rows[across].clip(lower=lowest), rows[up], label=name, **look)
            for name, rate, *place in operating.loc[operating["eps"] == eps, ["detector", "rate", across, up]].values:
                colour = series(number[name])["color"]
                axes.plot(*place, color=colour, marker=RATE_MARKERS[rate], markersize=5, markeredgecolor=PAPER)
            axes.set_ylim(0, 1.03)
            axes.grid()
        panels[0, column].set_title(f"epsilon {eps:.3g}")
        panels[0, column].set(xscale="log", xlim=(lowest, 1), xlabel="clean images rejected")
        panels[0, column].xaxis.set_major_formatter("{x:g}")
        panels[0, column].xaxis.set_minor_formatter(NullFormatter())
        panels[1, column].set(xlim=(0, 1), xlabel="attacked images found (recall)")
    panels[0, 0].set_ylabel("attacked images found")
    panels[1, 0].set_ylabel("precision")
    _legend(figure, panels.flat)
    return figure


@styled
def auroc_against_epsilon(frame: pd.DataFrame) -> Figure:
    """AUROC against epsilon, a panel a detector: solid against clean images, dashed against noise, and noise itself.

    Args:
        frame: columns detector, line (one of LINES), eps, mean, low, high; a band for the attacks, whiskers for others.
    """
    figure, panels = _panels(frame["detector"], height=2.3)
    for axes, (_, own) in zip(panels, frame.groupby("detector", sort=False), strict=False):
        axes.axhline(0.5, color=LINE, linewidth=0.9)
        for line, look in LINES.items():
            rows = own[own["line"] == line].sort_values("eps")
            if line in (ATTACKS_CLEAN, ATTACKS_NOISE):
                axes.fill_between(rows["eps"], rows["low"], rows["high"], color=look["color"], alpha=0.2, linewidth=0)
                axes.plot(rows["eps"], rows["mean"], label=line, **look)
            elif len(rows):
                axes.errorbar(rows["eps"], rows["mean"], spread(rows), label=line, elinewidth=1.2, capsize=2.5, **look)
        axes.set(ylim=(max(0.0, min(0.4, frame["low"].min() - 0.02)), 1.02), xlabel="epsilon (pixel units)")
        axes.grid(axis="y")
    for axes in panels[::_ACROSS]:
        axes.set_ylabel("AUROC")
    _legend(figure, panels)
    return figure


@styled
def score_distributions(frame: pd.DataFrame, limits: dict[str, float]) -> Figure:
    """Share of images whose score is at most a value, a panel a detector; on a logarithmic axis if they are far apart.

    Args:
        frame: columns detector, condition, images, share (0 to 1), value.
        limits: by detector the threshold in use, drawn as a line.
    """
    figure, panels = _panels(frame["detector"], height=2.2)
    looks: dict[str, dict[str, Any]] = {CLEAN: series(-1), NOISE: series(0) | {"linestyle": "--"}}
    for axes, (name, own) in zip(panels, frame.groupby("detector", sort=False), strict=False):
        for condition, rows in own.groupby("condition", sort=False):
            draw_ecdf(axes, rows, str(condition), looks.get(str(condition), series(1)))
        axes.axvline(limits[str(name)], color=FAINT, linewidth=1.2, label="threshold")
        inner = own[own["share"].between(0.01, 0.99)]["value"]
        low, high = float(inner.min()), float(inner.max())
        if low > 0 and high > 30 * low:
            logarithmic(axes, ticks=4)
        if high > low:
            axes.set_xlim(low, high)
        axes.set(ylim=(0, 1.02), xlabel="score")
        axes.grid()
    for axes in panels[::_ACROSS]:
        axes.set_ylabel("share at or below")
    _legend(figure, panels)
    return figure


@styled
def adaptive_curves(frame: pd.DataFrame) -> Figure:
    """The success of the adaptive attacker against lambda, a panel a detector and epsilon.

    Args:
        frame: columns detector (the panel's title), measure, strength (nan of the orthogonal one), mean, low, high.
    """
    figure, panels = _panels(frame["detector"], height=2.6)
    strengths = sorted(frame["strength"].dropna().unique())
    measures = list(dict.fromkeys(frame["measure"]))
    for axes, (_, own) in zip(panels, frame.groupby("detector", sort=False), strict=False):
        for (measure, orthogonal), rows in own.groupby(["measure", own["strength"].isna()], sort=False):
            number = measures.index(measure)
            rows = rows.sort_values("strength")
            ticks = [len(strengths) if orthogonal else strengths.index(strength) for strength in rows["strength"]]
            place = [tick + 0.05 * (number - 1.5) for tick in ticks]
            axes.errorbar(place, rows["mean"], spread(rows), label=measure, **series(number), **points(number))
        apart = ["orth."] if frame["strength"].isna().any() else []
        names = [*(f"{strength:g}" for strength in strengths), *apart]
        axes.set_xticks(range(len(names)), names)
        axes.set(ylim=(0, 1.03), xlabel="lambda, the weight of the score")
        axes.grid(axis="y")
    for axes in panels[::_ACROSS]:
        axes.set_ylabel("share of images")
    _legend(figure, panels)
    return figure


@styled
def detector_table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Figure:
    """A table of detectors and attacks, with cells of one line or two.

    Args:
        heads: of the columns.
        rows: the detector, written once above its rows, and the row's cells.
    """
    lines = Ruled(heads, rows).lines()
    lengths = [max(_length(cells[i]) for _, cells in lines if len(cells) > 1) for i in range(len(heads))]
    left = np.cumsum([0, *(0.062 * length + 0.18 for length in lengths)])  # inches
    height = np.cumsum([0, *(0.2 if kind == "group" else 0.36 for kind, _ in lines)])
    figure = Figure(figsize=(float(left[-1]), float(height[-1])))
    axes = figure.add_axes((0.005, 0, 0.99, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, left[-1]), ylim=(height[-1], 0))
    for top, bottom, (kind, cells) in zip(height, height[1:], lines, strict=False):
        for place, cell in zip(left, cells, strict=False):
            weight = "normal" if kind == "row" else "bold"
            axes.text(place, (top + bottom) / 2, cell, fontsize=7.5, va="center", weight=weight, linespacing=1.15)
    axes.hlines([0.01, height[1], height[-1] - 0.01], 0, left[-1], colors=[INK, LINE, INK], linewidth=0.9)
    return figure


def _length(cell: str) -> int:
    return max(map(len, cell.splitlines()))


def _panels(detectors: pd.Series[str], height: float) -> tuple[Figure, list[Axes]]:
    """A panel a detector, under its name; places left over are empty."""
    names = list(dict.fromkeys(detectors))
    columns = min(len(names), _ACROSS)
    rows = -(-len(names) // _ACROSS)
    figure = Figure(figsize=(max(0.5 + 2.9 * columns, 5.0), 0.7 + height * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, name in zip(panels, names, strict=False):
        axes.set_title("\n".join(shortened(line, 40) for line in name.replace(", ", "\n", 1).splitlines()))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure, panels


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, each name once."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = max(1, int(figure.get_figwidth() / (0.065 * max(map(len, found)) + 0.6)))
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns, fontsize=7.5)
