"""The exhibit of a sweep over grids and fills: how much an effect owes to the size of a cell and to what is painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dovision.results.exhibit import Exhibit, images, settings
from dovision.results.grid_figures import grid_lines
from dovision.results.reading import Run, describe
from dovision.results.summary import INTERVAL

METRIC = "mean_abs_expected_effect"


def grid_exhibits(runs: Sequence[Run]) -> list[Exhibit]:
    """Mean |ECE| against the number of cells, a line a fill; none unless the grids or the fills differ."""
    frame = pd.DataFrame([row for run in runs for row in _rows(run)])
    if frame.empty or len(frame.drop_duplicates(["cells", "fill"])) < 2:
        return []
    pooled = frame.groupby(["fill", "arm", "eps", "cells"], sort=False, as_index=False).agg(
        mean=("mean", "mean"), low=("low", "min"), high=("high", "max"), images=("images", "min"), runs=("mean", "size")
    )
    several = " Where several runs share a grid and a fill: their mean, and whiskers over all their intervals."
    pool = several if pooled["runs"].max() > 1 else ""
    grids = [run for run in runs if _grid(run)]
    caption = (
        "Mean over images and cells of the absolute expected causal effect of do(cell = fill); right: times the number "
        "of cells, so that grids of small and of large cells can be compared. A masked image lies off the data: where "
        f"the fills disagree, the effect is the fill's.{pool} {settings(grids)} {images(pooled['images'])} "
        f"Whiskers: {INTERVAL}."
    )
    figure = grid_lines(pooled)
    return [Exhibit("effect_against_grid", "Mean |ECE| against grid and fill", caption, figure, pooled)]


def _grid(run: Run) -> tuple[int, str] | None:
    """How many cells, and what they are painted with; None for any other intervention."""
    part = run.config.get("intervention", {})
    if not {"rows", "columns", "fill"} <= set(part):
        return None
    return part["rows"] * part["columns"], describe(part["fill"])


def _rows(run: Run) -> list[dict[str, Any]]:
    grid = _grid(run)
    if grid is None:
        return []
    rows = []
    for arm, found in run.summary["arms"].items():
        interval = found[METRIC]
        if interval is not None:
            values = {"mean": interval["estimate"], "low": interval["low"], "high": interval["high"]}
            told = {"arm": arm, "eps": found["eps"], "images": found["images"], **values}
            rows.append({"cells": grid[0], "fill": grid[1], **told})
    return rows
