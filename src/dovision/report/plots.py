"""Figures of numbers: pure functions from a table to a figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.effects import RESOLUTION
from dovision.report.ecdf import draw_ecdf
from dovision.report.latex import Ruled
from dovision.report.style import (
    FAINT,
    INK,
    LINE,
    MARKERS,
    brief,
    logarithmic,
    points,
    series,
    shortened,
    spread,
    styled,
)

_FEW = 12  # jobs that their colours can distinguish
PANELS = 4  # side by side


@styled
def effect_against_epsilon(frame: pd.DataFrame) -> Figure:
    """Mean |ECE| of each job against epsilon, with intervals; of many jobs all but the outstanding ones are grey.

    Args:
        frame: columns job, eps (pixel units, 0 for clean), mean, low, high.
    """
    named = outstanding(frame)
    figure = Figure(figsize=(6.4, 3.3 + 0.2 * len(named)), layout="constrained")
    axes = figure.subplots()
    jobs = list(dict.fromkeys(frame["job"]))
    for job in jobs:
        rows = frame[frame["job"] == job].sort_values("eps")
        if job not in named:
            axes.plot(rows["eps"], rows["mean"], color=FAINT, linewidth=0.6, zorder=1)
            continue
        number = named.index(job)
        axes.errorbar(rows["eps"], rows["mean"], spread(rows), label=job, **series(number), **points(number))
    axes.set_xlabel("epsilon (pixel units, 0 = clean)")
    axes.set_ylabel("mean |ECE|")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    if len(jobs) > 1:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, [brief(label, 60) for label in labels], loc="outside lower center", fontsize=7.5)
    return figure


def outstanding(frame: pd.DataFrame) -> list[str]:
    """All jobs, if they are few; else the three whose largest mean is highest, and the three whose is lowest."""
    largest = frame.groupby("job", sort=False)["mean"].max()
    if len(largest) <= _FEW:
        return list(largest.index)
    ordered = largest.sort_values(ascending=False, kind="stable").index
    return [*ordered[:3], *ordered[-3:]]


@styled
def effect_distribution(frame: pd.DataFrame) -> Figure:
    """Share of images whose mean |ECE| is at most a value, by condition; logarithmic if values differ tenfold.

    Args:
        frame: columns condition, images, share (0 to 1), value; see `ecdf`.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    largest = max(float(frame["value"].max()), RESOLUTION)
    edge = max(largest / 1e4, RESOLUTION)  # where smaller values are drawn
    frame = frame.assign(value=frame["value"].clip(lower=edge))
    for number, (condition, rows) in enumerate(frame.groupby("condition", sort=False)):
        label = f"{condition} (n = {rows['images'].iloc[0]:,})"
        draw_ecdf(axes, rows, label, series(number - 1))
    if largest > 10 * frame["value"].min():
        logarithmic(axes)
    axes.set_xlabel("mean |ECE| of an image")
    axes.set_ylabel("share of images at or below")
    axes.set_ylim(0, 1.02)
    axes.grid()
    figure.legend(loc="outside lower center", ncols=2, fontsize=7.5)
    return figure


@styled
def spread_against_epsilon(frame: pd.DataFrame) -> Figure:
    """Quantiles of |ECE| over images against epsilon, an attack a colour, on a logarithmic axis.

    Args:
        frame: columns panel, attack, eps (pixel units, 0 for clean), low, lower, median, upper, high.
    """
    names, attacks = (list(dict.fromkeys(frame[column])) for column in ("panel", "attack"))
    across = min(max(len(names), 2), PANELS)
    down = -(-len(names) // across)
    floor = max(float(frame["high"].max()) / 1e4, RESOLUTION)  # what is smaller stands at the lower edge
    figure = Figure(figsize=(0.6 + 3.3 * across, 0.7 + 2.7 * down), layout="constrained")
    panels = figure.subplots(down, min(across, len(names)), squeeze=False, sharey=True).ravel()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, names, strict=False):
        for number, attack in enumerate(attacks):
            rows = frame[(frame["panel"] == name) & (frame["attack"] == attack)].sort_values("eps")
            look = series(number)
            bounds = {end: rows[end].clip(lower=floor) for end in ("low", "lower", "median", "upper", "high")}
            axes.fill_between(rows["eps"], bounds["lower"], bounds["upper"], color=look["color"], alpha=0.15, lw=0)
            for end in ("low", "high"):
                axes.plot(rows["eps"], bounds[end], color=look["color"], linestyle=":", linewidth=0.9)
            axes.plot(rows["eps"], bounds["median"], label=attack, marker=MARKERS[number % 7], markersize=4.5, **look)
        logarithmic(axes, "y")
        axes.set_xlabel("epsilon (pixel units, 0 = clean)")
        axes.set_title(brief(name, 44))
        axes.grid(axis="y")
    for axes in panels[::across]:
        axes.set_ylabel("mean |ECE| of an image")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=7.5)
    return figure


def strongest(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """The rows of the (unit, class) pairs whose largest size of a mean in any condition is largest, strongest first.

    Args:
        frame: columns condition, unit, class, mean.
        most: pairs that are chosen.
    """
    size = frame["mean"].abs().groupby([frame["unit"], frame["class"]], sort=False).max()
    pairs = size.sort_values(ascending=False, kind="stable").index[:most]
    place = pd.MultiIndex.from_frame(frame[["unit", "class"]]).map({pair: rank for rank, pair in enumerate(pairs)})
    return frame.assign(place=place).dropna(subset=["place"]).sort_values("place", kind="stable").drop(columns="place")


@styled
def average_effects_plot(frame: pd.DataFrame, label: str = "average effect on the class probability") -> Figure:
    """Average effects of a unit on a class, with intervals, the conditions side by side.

    Args:
        frame: columns condition, unit, class, mean, low, high; pairs of unit and class in the order in which they are
            drawn.
        label: of the numbers.
    """
    pairs = list(dict.fromkeys(zip(frame["unit"], frame["class"], strict=True)))
    conditions = list(dict.fromkeys(frame["condition"]))
    figure = Figure(figsize=(6.4, 0.7 + (0.2 + 0.1 * len(conditions)) * len(pairs)), layout="constrained")
    axes = figure.subplots()
    indexed = frame.set_index(["unit", "class"])
    for number, condition in enumerate(conditions):
        rows = indexed[indexed["condition"] == condition].reindex(pairs)
        place = np.arange(len(pairs)) + (number - (len(conditions) - 1) / 2) * 0.7 / len(conditions)
        style = series(number - 1) | points(number) | {"linestyle": "none"}
        axes.errorbar(rows["mean"], place, xerr=spread(rows), label=condition, **style)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(pairs)), [f"do({shortened(unit, 24)}) on {shortened(name, 24)}" for unit, name in pairs])
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.grid(axis="x")
    if len(conditions) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7.5)
    return figure


@styled
def results_table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Figure:
    """A table as a figure.

    Args:
        heads: of the columns.
        rows: a job and the row's cells; a job's name is written once, above its rows.
    """
    lines = Ruled(heads, rows).lines()
    figure = Figure(figsize=(1.75 * len(heads), 0.24 * (len(lines) + 1)))
    axes = figure.add_axes((0.01, 0, 0.98, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, len(heads)), ylim=(len(lines), -1))
    for height, (kind, cells) in enumerate(lines):
        for column, cell in enumerate(cells):
            weight = "normal" if kind == "row" else "bold"
            axes.text(column, height, cell, fontsize=7.5, va="center", weight=weight)
    axes.hlines([-0.6, 0.5, len(lines) - 0.4], 0, len(heads), colors=[INK, LINE, INK], linewidth=0.9)
    return figure
