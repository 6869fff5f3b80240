"""The figure of a sweep over grids and fills: how much an effect owes to the size of a cell and to what is painted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.functional.intervals import MEAN_INTERVALS
from dovision.report.figures.grid_plots import grid_lines
from dovision.report.report_figure import ReportFigure, images, missing_intervals, setup_sentence
from dovision.store.run_record import Run, alike, describe, own_settings
from dovision.store.tables import CLEAN

METRIC = "mean_abs_expected_effect"
FACTORS = ["intervention.rows", "intervention.columns", "intervention.fill"]  # the axis of the figure, and its lines
POINT = ["series", "fill", "condition", "eps", "cells"]


def grid_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Mean |ECE| against the number of cells, a line a fill; none unless the grids or the fills differ.

    Seeds are pooled, as the caption says; what else differs between the runs has lines of its own.
    """
    grids = [run for run in runs if _grid(run)]
    frame = pd.DataFrame(_rows(grids))
    if frame.empty or len(frame.drop_duplicates(["cells", "fill"])) < 2:
        return []
    pooled = _over_seeds(frame)
    several = " Where a point has several seeds: their mean, and whiskers from the least to the largest of them."
    pool = several if pooled["seeds"].max() > 1 else ""
    caption = (
        "Mean over images and cells of the absolute expected causal effect of do(cell = fill); right: times the number "
        "of cells, so that grids of small and of large cells can be compared. A masked image lies off the data: where "
        f"the fills disagree, the effect is the fill's.{pool} {setup_sentence(grids)} {images(pooled['images'])} "
        f"Whiskers: {MEAN_INTERVALS}.{missing_intervals(pooled)}"
    )
    figure = grid_lines(pooled)
    return [ReportFigure("effect_against_grid", "Mean |ECE| against grid and fill", caption, figure, pooled)]


def _grid(run: Run) -> tuple[int, str] | None:
    """Number of cells, and what they are painted with; None for any other intervention."""
    part = run.config.get("intervention", {})
    rows, columns = part.get("rows"), part.get("columns")
    if "fill" not in part or not isinstance(rows, int) or not isinstance(columns, int):  # text: from the environment
        return None
    return rows * columns, describe(part["fill"])


def _rows(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Rows by run and condition; `series` is what else differs. Clean images depend on no attack, and occur once."""
    for attacked, apart_from in ((False, [*FACTORS, "seed", "attack"]), (True, [*FACTORS, "seed"])):
        groups = alike(runs, apart_from)
        names = own_settings(groups)
        for key, group in groups.items():
            for run in group:
                conditions = run.summary["conditions"].items()
                chosen = {condition: found for condition, found in conditions if (condition != CLEAN) == attacked}
                yield from _points(run, names[key], chosen)


def _points(run: Run, series: str, conditions: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cells, fill = _grid(run) or (0, "")
    for condition, found in conditions.items():
        interval = found[METRIC]
        if interval is not None:
            values = {"mean": interval["estimate"], **{name: interval[name] for name in ("low", "high", "reason")}}
            place = {"series": series, "fill": fill, "condition": condition, "eps": found["eps"], "cells": cells}
            yield {**place, "seed": run.seed, "images": found["images"], **values}


def _over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per point: the mean over seeds and their range, or, of one seed, its interval."""
    once = frame.drop_duplicates([*POINT, "seed"])
    points = once.groupby(POINT, sort=False, as_index=False)
    pooled = points.agg(
        mean=("mean", "mean"),
        low=("low", "first"),
        high=("high", "first"),
        reason=("reason", "first"),
        least=("mean", "min"),
        largest=("mean", "max"),
        images=("images", "min"),
        seeds=("seed", "size"),
    )
    several = pooled["seeds"] > 1
    pooled["low"] = pooled["least"].where(several, pooled["low"])
    pooled["high"] = pooled["largest"].where(several, pooled["high"])
    pooled["reason"] = pooled["reason"].mask(several, "")
    return pooled.drop(columns=["least", "largest"])
