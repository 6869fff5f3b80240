"""Figures of mean |expected effect| against epsilon, grid and fill, and of its spread over images by attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.effects import RESOLUTION
from dovision.report.plots import draw_means, panel_rows, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images, span, whiskers
from dovision.report.style import (
    FAINT,
    FEWEST_FOR_CURVE,
    MARKERS,
    canvas,
    logarithmic,
    series,
    shortened,
    shortened_apart,
    styled,
)
from dovision.results.display_names import MEAN_EFFECT, component_text, display_name
from dovision.results.factors import SEED_KEY
from dovision.results.headline_numbers import mean_effect_rows, pool_seeds
from dovision.results.run_record import Run, alike
from dovision.results.tables import CLEAN, read_samples

QUANTILES = {"low": 0.05, "lower": 0.25, "median": 0.5, "upper": 0.75, "high": 0.95}
EPSILON = "epsilon (pixel units, 0 = clean)"
_FEW = 12  # jobs that their colours can distinguish
_PANELS = 12  # that are drawn; the numbers have all
FACTORS = ["intervention.rows", "intervention.columns", "intervention.fill"]  # the axis of the figure, and its lines
POINT = ["series", "fill", "condition", "eps", "cells"]


class Epsilon(FigureComponent):
    """Figures of mean |expected effect| against epsilon, and of its quantiles for runs that differ only in attack."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        yield from _spread(runs)
        yield from _mean(runs)


def _mean(runs: Sequence[Run]) -> Iterator[ReportFigure]:
    of_settings = []  # but for the seed
    for name, group in alike(runs, apart_from=[SEED_KEY, "attack.eps"]).items():
        seeds = pd.Series({run.label: run.seed for run in group}, name="seed")
        of_settings.append(mean_effect_rows(group).join(seeds, on="job").assign(job=name or group[0].label))
    frame = pd.concat(of_settings).astype(dict.fromkeys(("mean", "low", "high"), float)).dropna(subset="mean")
    frame = pool_seeds(frame, ["job", "condition", "eps"])
    if not frame["eps"].any():
        return
    jobs, named = frame["job"].nunique(), outstanding(frame)
    text = "Mean over images and units of the absolute expected causal effect, clean (epsilon 0) and attacked"
    if jobs > len(named):
        text += f"; of {jobs} settings, the three highest and the three lowest are named, the others are grey"
    words = caption(f"{text}.", runs, images(frame["images"]), whiskers(frame["seeds"]), frame)
    figure = effect_against_epsilon(frame)
    yield ReportFigure("effect_against_epsilon", "Mean |expected effect| against epsilon", words, figure, frame)


def outstanding(frame: pd.DataFrame) -> list[str]:
    """All settings if few; otherwise the three with the highest and the three with the lowest maximum."""
    largest = frame.groupby("job", sort=False)["mean"].max()
    if len(largest) <= _FEW:
        return list(largest.index)
    ordered = largest.sort_values(ascending=False, kind="stable").index
    return [*ordered[:3], *ordered[-3:]]


@styled
def effect_against_epsilon(frame: pd.DataFrame) -> Figure:
    """Plot mean |expected effect| against epsilon with whiskers; most are grey if settings are many.

    Args:
        frame: columns job (the setting), eps (pixel units, 0 for clean), mean, low, high.
    """
    named, jobs = outstanding(frame), list(dict.fromkeys(frame["job"]))
    figure = canvas(5.0, 2.4 + 0.15 * len(named))
    axes = figure.subplots()
    for job in jobs:
        rows = frame[frame["job"] == job].sort_values("eps")
        if job in named:
            draw_means(axes, rows["eps"], rows, named.index(job), shortened(job, 60))
        else:
            axes.plot(rows["eps"], rows["mean"], color=FAINT, linewidth=0.6, zorder=1)
    axes.set(xlabel=EPSILON, ylabel="mean |expected effect|")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    if len(jobs) > 1:
        figure.legend(loc="outside lower center")
    return figure


def _spread(runs: Sequence[Run]) -> Iterator[ReportFigure]:
    attacked = [run for run in runs if any(of["eps"] for of in run.summary["conditions"].values())]
    panels = {key: _by_attack(group) for key, group in alike(attacked, apart_from=["attack"]).items()}
    compared = {key: attacks for key, attacks in panels.items() if len(attacks) > 1}
    if not compared:
        return
    rows = []
    for key, attacks in compared.items():
        first = next(iter(attacks.values()))[0]
        panel = key or component_text(first.config.get("intervention", {}))
        for attack, group in attacks.items():
            rows += [{"panel": panel, "attack": attack} | row for row in _quantiles(group)]
    frame = pd.DataFrame(rows)
    shown = list(dict.fromkeys(frame["panel"]))
    used = [run for attacks in compared.values() for group in attacks.values() for run in group]
    text = (
        "Mean over units of the absolute expected causal effect of an image, over all images of a condition, whether "
        "or not the attack succeeded; points: median over images; where there are at least 20, band: the middle half, "
        "dotted: 5% and 95%. Random-sign noise is as large as the attacks but has no target: "
        "what it changes is no evidence of an attack."
    )
    if len(shown) > _PANELS:
        text += f" Drawn: the first {_PANELS} of {len(shown)} settings."
    figure = spread_against_epsilon(frame[frame["panel"].isin(shown[:_PANELS])])
    title = "Distribution of |expected effect| by attack and epsilon"
    words = caption(text, used, f"n = {span(frame['images'])} images.")
    yield ReportFigure("effect_spread", title, words, figure, frame)


def _by_attack(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs that differ only in attack by the attack's name.

    The runs of one attack differ in their epsilons alone.
    """
    runs_by_attack: dict[str, list[Run]] = {}
    groups = alike(runs, apart_from=["attack.eps"])
    kinds = {
        key: component_text({"_target_": group[0].config.get("attack", {}).get("_target_", "")})
        for key, group in groups.items()
    }
    for key, group in groups.items():
        several = list(kinds.values()).count(kinds[key]) > 1
        runs_by_attack.setdefault(f"{kinds[key]} ({key})" if several else kinds[key], []).extend(group)
    return runs_by_attack


def _quantiles(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Images and quantiles of an attack at each epsilon; clean images are shared by its runs."""
    tables = [read_samples(run.folder).dropna(subset=[MEAN_EFFECT]) for run in runs]
    others = [table[table["condition"] != CLEAN] for table in tables[1:]]
    for eps, rows in pd.concat([tables[0], *others]).groupby("eps"):
        enough = len(rows) >= FEWEST_FOR_CURVE  # of fewer a point, the median
        values = {
            name: float(rows[MEAN_EFFECT].quantile(share)) if enough or name == "median" else np.nan
            for name, share in QUANTILES.items()
        }
        yield {"eps": eps, "images": len(rows), **values}


@styled
def spread_against_epsilon(frame: pd.DataFrame) -> Figure:
    """Plot quantiles of |expected effect| against epsilon, a colour per attack, logarithmic.

    Args:
        frame: columns panel, attack, eps (pixel units, 0 for clean), low, lower, median, upper, high.
    """
    names, attacks = (list(dict.fromkeys(frame[column])) for column in ("panel", "attack"))
    labels = EPSILON, "mean |expected effect| of an image"
    figure, panels = panel_rows(shortened_apart(names, 44), labels, (2.0, 1.9), sharey=True)
    largest = float(frame[["median", "high"]].max().max())
    floor = max(largest / 1e4, RESOLUTION)  # smaller values stand at the lower edge
    bounds = frame.assign(**{end: frame[end].clip(lower=floor) for end in QUANTILES})
    for axes, name in zip(panels, names, strict=True):
        for number, attack in enumerate(attacks):
            rows = bounds[(frame["panel"] == name) & (frame["attack"] == attack)].sort_values("eps")
            look = series(number)
            axes.fill_between(rows["eps"], rows["lower"], rows["upper"], color=look["color"], alpha=0.15, lw=0)
            for end in ("low", "high"):
                axes.plot(rows["eps"], rows[end], color=look["color"], linestyle=":", linewidth=0.9)
            look |= {"marker": MARKERS[number % len(MARKERS)], "markersize": 3.5, "label": display_name(attack)}
            axes.plot(rows["eps"], rows["median"], **look)
        logarithmic(axes, "y")
        axes.grid(axis="y")
    return with_legend(figure, panels[:1])


class Grid(FigureComponent):
    """Figure of mean |expected effect| against the number of cells, by fill; none unless these vary.

    Seeds are pooled, as the caption says; what else differs between the runs has lines of its own.
    """

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        grids = [run for run in runs if _grid(run)]
        frame = _points(grids) if grids else pd.DataFrame(columns=["cells", "fill"])
        if len(frame.drop_duplicates(["cells", "fill"])) < 2:
            return
        pooled = pool_seeds(frame, POINT)
        text = (
            "Mean over images and cells of the absolute expected causal effect of do(cell = fill); right: times the "
            "number of cells, so that grids of small and of large cells can be compared. A masked image lies off the "
            "data: where the fills disagree, the effect is partly the fill's."
        )
        words = caption(text, grids, images(pooled["images"]), whiskers(pooled["seeds"]), pooled)
        title = f"Mean |expected effect| against grid{' and fill' if frame['fill'].nunique() > 1 else ''}"
        yield ReportFigure("effect_against_grid", title, words, _grid_lines(pooled), pooled)


def _grid(run: Run) -> tuple[int, str] | None:
    """Number of cells and fill of a pixel grid; None for other interventions."""
    intervention = run.config.get("intervention", {})
    rows, columns = intervention.get("rows"), intervention.get("columns")
    numbers = isinstance(rows, int) and isinstance(columns, int)  # text: from the environment
    return (rows * columns, component_text(intervention["fill"])) if numbers and "fill" in intervention else None


def _points(runs: Sequence[Run]) -> pd.DataFrame:
    """Points by run and condition; `series` names the other settings that vary, except epsilon.

    Clean images depend on no attack, and occur once.
    """
    of_settings = []
    for attacked, apart_from in ((False, [*FACTORS, "seed", "attack"]), (True, [*FACTORS, "seed", "attack.eps"])):
        for name, group in alike(runs, apart_from).items():
            effects = mean_effect_rows(group)
            of_settings.append(effects[(effects["condition"] != CLEAN) == attacked].assign(series=name))
    frame = pd.concat(of_settings).astype(dict.fromkeys(("mean", "low", "high"), float)).dropna(subset="mean")
    of = pd.DataFrame([(*(_grid(run) or ()), run.seed) for run in runs], [run.label for run in runs])
    return frame.join(of.set_axis(["cells", "fill", "seed"], axis=1), on="job")


@styled
def _grid_lines(frame: pd.DataFrame) -> Figure:
    """Plot effects per cell, and times the number of cells, against that number; a row per condition."""
    conditions = list(dict.fromkeys(frame["condition"]))
    figure = canvas(5.0, 0.7 + 1.6 * len(conditions))
    panels = figure.subplots(len(conditions), 2, sharex=True, squeeze=False)
    lines = list(dict.fromkeys(zip(frame["series"], frame["fill"], strict=True)))
    several = frame["fill"].nunique() > 1
    for (condition, others, fill), rows in frame.groupby(["condition", "series", "fill"], sort=False):
        rows, number = rows.sort_values("cells"), lines.index((others, fill))
        names = [shortened(others or display_name(condition), 40)] if others or any(frame["series"]) else []
        label = ", ".join([*names, *([shortened(fill, 40)] if several or not names else [])])
        for axes, scale in zip(panels[conditions.index(condition)], (1, rows["cells"]), strict=True):
            ends = rows[["mean", "low", "high"]].astype(float).mul(scale, axis=0)
            draw_means(axes, rows["cells"], ends, number, label)
    for (row, column), axes in np.ndenumerate(panels):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_title(f"{display_name(conditions[row])}: {('of a cell', 'times the number of cells')[column]}")
    ticks = sorted(frame["cells"].unique())
    for axes in panels[-1]:
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("cells of the grid")
    for axes in panels[:, 0]:
        axes.set_ylabel("mean |expected effect|")
    return with_legend(figure, panels[:, 0])
