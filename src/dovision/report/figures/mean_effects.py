"""Figures of mean |expected effect| against epsilon, grid and fill, and of all settings of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.report.plots import draw_means, panel_rows, with_legend
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, images, whiskers
from dovision.report.style import COLOURS, FAINT, SMALL, canvas, shortened, styled
from dovision.results.display_names import component_text, display_name, metric_head
from dovision.results.factors import SEED_KEY
from dovision.results.headline_numbers import mean_effect_rows, pool_seeds
from dovision.results.run_record import Run, alike
from dovision.results.sweep_findings import by_factors, ordered_level, pivots
from dovision.results.tables import CLEAN

EPSILON = "epsilon (pixel units, 0 = clean)"
_FEW = 12  # settings that colours and markers can distinguish
FACTORS = ["intervention.rows", "intervention.columns", "intervention.fill"]  # the axis of the figure, and its lines
POINT = ["series", "fill", "condition", "eps", "cells"]


class Epsilon(FigureComponent):
    """Figure of mean |expected effect| against epsilon, a line per setting; none without an attack, or of many."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        of_settings = []  # but for the seed
        for name, group in alike(runs, apart_from=[SEED_KEY, "attack.eps"]).items():
            seeds = pd.Series({run.label: run.seed for run in group}, name="seed")
            of_settings.append(mean_effect_rows(group).join(seeds, on="job").assign(job=name or group[0].label))
        frame = pd.concat(of_settings).astype(dict.fromkeys(("mean", "low", "high"), float)).dropna(subset="mean")
        frame = pool_seeds(frame, ["job", "condition", "eps"])
        if not frame["eps"].any() or frame["job"].nunique() > _FEW:
            return
        text = "Mean over images and units of the absolute expected causal effect, clean (epsilon 0) and attacked."
        words = caption(text, runs, images(frame["images"]), whiskers(frame["seeds"]), frame)
        figure = effect_against_epsilon(frame)
        yield ReportFigure("effect_against_epsilon", "Mean |expected effect| against epsilon", words, figure, frame)


@styled
def effect_against_epsilon(frame: pd.DataFrame) -> Figure:
    """Plot mean |expected effect| against epsilon with whiskers.

    Args:
        frame: columns job (the setting), eps (pixel units, 0 for clean), mean, low, high.
    """
    jobs = list(dict.fromkeys(frame["job"]))
    figure = canvas(5.0, 2.4 + 0.15 * len(jobs))
    axes = figure.subplots()
    for number, job in enumerate(jobs):
        rows = frame[frame["job"] == job].sort_values("eps")
        draw_means(axes, rows["eps"], rows, number, shortened(job, 60))
    axes.set(xlabel=EPSILON, ylabel="mean |expected effect|")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    if len(jobs) > 1:
        figure.legend(loc="outside lower center")
    return figure


class Coordinates(FigureComponent):
    """Figure of all settings of a sweep in parallel coordinates; none of fewer than two factors."""

    def of_sweep(self, runs: Sequence[Run]) -> Iterator[ReportFigure]:
        frame = by_factors(runs)
        for table in pivots(frame):
            factors = [name for name in table.shares if name in (*table.factors, table.across)]
            if len(factors) > 1:
                break
        else:
            return
        rows = frame[(frame["metric"] == table.metric) & frame["mean"].notna() & frame[factors].ne(CLEAN).all(axis=1)]
        name = metric_head(table.metric)
        text = f"A line a setting, from level to level of each factor to its {name}; the third with the most in blue."
        words = caption(f"{text} {table.note}", runs, f"n = {len(rows)} settings.")
        yield ReportFigure("settings", "All settings", words, parallel_coordinates(rows, factors, name), rows)


@styled
def parallel_coordinates(rows: pd.DataFrame, factors: Sequence[str], name: str) -> Figure:
    """Plot a line a row over the levels of each factor and its number; the third with the most in colour.

    Args:
        rows: of `by_factors`, of one metric.
        factors: columns, in the order of the axes.
        name: of the number.
    """
    last = len(factors)
    figure = canvas(1.4 * (last + 1), 2.6)
    axes = figure.subplots()
    low, high = rows["mean"].min(), rows["mean"].max()
    lines = pd.DataFrame({last: (rows["mean"] - low) / ((high - low) or 1)})
    marks = [(last, 0, f"{low:.3g}"), (last, 1, f"{high:.3g}")]
    for axis, factor in reversed([*enumerate(factors)]):
        levels = sorted(rows[factor].unique(), key=ordered_level)
        heights = dict(zip(levels, np.linspace(0, 1, len(levels)), strict=True))
        lines.insert(0, axis, rows[factor].map(heights))
        marks += [(axis, height, shortened(level, 14)) for level, height in heights.items()]
    for axis, height, text in marks:
        axes.text(axis + 0.04, height, text, va="bottom", fontsize=SMALL)
    for *line, height in lines.sort_values(last).to_numpy():
        is_high = height >= lines[last].quantile(2 / 3)
        axes.plot([*line, height], color=COLOURS[0] if is_high else FAINT, linewidth=1.2 if is_high else 0.7)
    axes.set_xticks(range(last + 1), [*(shortened(factor, 18) for factor in factors), name])
    axes.set(yticks=[], xlim=(-0.3, last + 0.4), ylim=(-0.05, 1.1))
    axes.grid(axis="x")
    axes.spines[:].set_visible(False)
    return figure


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
    scales = "of a cell", "times the number of cells"
    titles = [f"{display_name(condition)}: {scale}" for condition in conditions for scale in scales]
    labels = "cells of the grid", "mean |expected effect|"
    figure, panels = panel_rows(titles, labels, (2.5, 1.6), sharex=True)
    lines = list(dict.fromkeys(zip(frame["series"], frame["fill"], strict=True)))
    several = frame["fill"].nunique() > 1
    for (condition, others, fill), rows in frame.groupby(["condition", "series", "fill"], sort=False):
        rows, number = rows.sort_values("cells"), lines.index((others, fill))
        names = [shortened(others or display_name(condition), 40)] if others or any(frame["series"]) else []
        label = ", ".join([*names, *([shortened(fill, 40)] if several or not names else [])])
        row = 2 * conditions.index(condition)
        for axes, scale in zip(panels[row : row + 2], (1, rows["cells"]), strict=True):
            ends = rows[["mean", "low", "high"]].astype(float).mul(scale, axis=0)
            draw_means(axes, rows["cells"], ends, number, label)
    ticks = sorted(frame["cells"].unique())
    for axes in panels:
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
    return with_legend(figure)
