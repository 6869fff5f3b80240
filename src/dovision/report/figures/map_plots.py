"""Figures of how explainers score: pure functions from a table to a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from dovision.report.latex import Ruled
from dovision.report.style import FAINT, INK, LINE, MARKERS, points, series, shortened, spread, styled

REFERENCE_MAPS = ("random_map", "center_map", "edge_map")  # they know nothing of the classifier; drawn in grey


@styled
def score_table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Figure:
    """A table of explainers and metrics; a cell's second line, its interval, is smaller.

    Args:
        heads: of the columns; the first is the explainers'.
        rows: the cases that the row is about, written once above its rows, and the row's cells.
    """
    lines = Ruled(heads, rows).lines()
    figure = Figure(figsize=(1.5 + 1.05 * (len(heads) - 1), 0.36 * (len(lines) + 0.4)))
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set_axis_off()
    axes.set(xlim=(-1.5, len(heads) - 1), ylim=(len(lines) - 0.3, -0.7))
    for height, (kind, cells) in enumerate(lines):
        for column, cell in enumerate(cells):
            place = (-1.5 if column == 0 else column - 1, height)
            first, _, second = cell.partition("\n")
            weight = "normal" if kind == "row" else "bold"
            if kind != "row" or not second:
                axes.text(*place, cell, fontsize=8, va="center", weight=weight)
                continue
            axes.text(*place, first, fontsize=8, va="bottom")
            axes.text(*place, second, fontsize=6.5, va="top")
    axes.hlines([-0.65, 0.5, len(lines) - 0.45], -1.5, len(heads) - 1, colors=[INK, LINE, INK], linewidth=0.9)
    return figure


@styled
def score_dots(frame: pd.DataFrame, titles: Mapping[str, str], chance: Mapping[str, float]) -> Figure:
    """The mean of each metric for each explainer, side by side: filled over all cases, hollow over the correct ones.

    Args:
        frame: columns explainer, metric, cases ("all" or "correct"), mean, low, high.
        titles: of the metrics that are drawn, in their order.
        chance: what a map that knows nothing would have, drawn as a dotted line.
    """
    explainers = list(dict.fromkeys(frame["explainer"]))
    figure = Figure(figsize=(1.6 + 1.35 * len(titles), 0.9 + 0.3 * len(explainers)), layout="constrained")
    panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    for axes, (metric, title) in zip(panels, titles.items(), strict=True):
        for cases, shift in (("all", -0.12), ("correct", 0.12)):
            rows = frame[(frame["metric"] == metric) & (frame["cases"] == cases)].set_index("explainer")
            for place, explainer in enumerate(explainers):
                colour = FAINT if explainer in REFERENCE_MAPS else INK
                fill = colour if cases == "all" else "none"
                row = rows.reindex([explainer])
                style = {"color": colour, "markerfacecolor": fill, "marker": MARKERS[0], "markersize": 4.5}
                axes.errorbar(row["mean"], [place + shift], xerr=spread(row), elinewidth=1.2, **style)
        if metric in chance:
            axes.axvline(chance[metric], color=INK, linewidth=0.9, linestyle=":")
        axes.set_title(title)
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.locator_params(axis="x", nbins=4)
    panels[0].set_yticks(range(len(explainers)), explainers)
    panels[0].set_ylim(len(explainers) - 0.5, -0.5)
    return figure


@styled
def sanity_lines(frame: pd.DataFrame, permuted: str) -> Figure:
    """Rank correlation with the map as it is against the share of randomised layers, a line an explainer.

    Args:
        frame: columns explainer, variant, depth (randomised layers), mean, low, high.
        permuted: the variant that stands apart, on the right.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.subplots()
    explainers = list(dict.fromkeys(frame["explainer"]))
    deepest = int(frame["depth"].max()) if frame["depth"].notna().any() else 0
    apart = deepest + 1
    for number, explainer in enumerate(explainers):
        rows = frame[frame["explainer"] == explainer]
        style = series(number) | points(number)
        if explainer in REFERENCE_MAPS:
            style |= {"color": FAINT}
        shift = (number - (len(explainers) - 1) / 2) * 0.03
        layers = rows[rows["depth"].notna()]
        axes.errorbar([0, *layers["depth"] + shift], [1, *layers["mean"]], _from_one(layers), label=explainer, **style)
        permuted_rows = rows[rows["variant"] == permuted]
        axes.errorbar(permuted_rows["mean"] * 0 + apart + shift, permuted_rows["mean"], spread(permuted_rows), **style)
    ticks = {0: "as is", **{depth: f"{depth} of {deepest}" for depth in range(1, deepest + 1)}}
    if (frame["variant"] == permuted).any():
        ticks[apart] = "permuted\nlabels"
        axes.axvline(apart - 0.5, color=LINE, linewidth=0.9)
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("randomised layers, from the top down")
    axes.set_ylabel("rank correlation with the map as is")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, [shortened(label, 30) for label in labels], loc="outside right upper", fontsize=7.5)
    return figure


@styled
def estimate_clouds(frame: pd.DataFrame, titles: Mapping[str, str], across: int = 3) -> Figure:
    """The estimates of maps for objects against the evidence that these give, a point an object, a panel an explainer.

    Args:
        frame: columns explainer, kind (of object), evidence, density (the map's mean over the object).
        titles: of the explainers that are drawn, in their order.
        across: panels in a row.
    """
    kinds = list(dict.fromkeys(frame["kind"]))
    rows = -(-len(titles) // across)
    figure = Figure(figsize=(2.6 * across, 0.7 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False, sharex=True)
    for axes, (explainer, title) in zip(panels.flat, titles.items(), strict=False):
        own = frame[frame["explainer"] == explainer]
        for number, kind in enumerate(kinds):
            cloud = own[own["kind"] == kind]
            style = {"s": 5, "color": series(number)["color"], "marker": MARKERS[number % len(MARKERS)]}
            axes.scatter(cloud["evidence"], cloud["density"], alpha=0.5, linewidths=0, rasterized=True, **style)
            axes.scatter([], [], label=kind, **style)  # for the legend, not faint
        tenths = own.groupby(pd.qcut(own["evidence"], 10, duplicates="drop"), observed=True)
        axes.plot(
            tenths["evidence"].mean(), tenths["density"].mean(), color=INK, linewidth=1.2, label="means of tenths"
        )
        axes.axvline(0, color=INK, linewidth=0.6)
        if own["density"].min() < 0:
            axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_title(title)
    for axes in panels.flat[len(titles) :]:
        axes.set_axis_off()
    figure.supxlabel("true evidence of the object: minus the effect of taking it away", fontsize=9)
    figure.supylabel("the map's mean over the object", fontsize=9)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=8, fontsize=7.5)
    return figure


def _from_one(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """The whiskers of a line that starts, without one, at the map as it is."""
    return np.concatenate([np.zeros((2, 1)), spread(rows)], axis=1)
