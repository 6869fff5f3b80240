"""The figure of a shortcut: what the classifier and its maps make of it as its correlation with the label grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from dovision.analysis.explanation_metrics import object_scores
from dovision.analysis.object_effects import object_rows, paired, true_effects
from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import MEAN_INTERVALS, mean_interval
from dovision.report.figures.object_plots import AREA, shortcut_lines
from dovision.report.report_figure import ReportFigure, missing_intervals, setup_sentence, span
from dovision.store.map_tables import MAPS_FILE
from dovision.store.run_record import Run, alike, describe, own_settings
from dovision.store.tables import CLEAN

SHORTCUT = "dataset.shortcut"
TRUE, PAINTED = "true effect", "box minus control"
EFFECT, SHARE = "mean effect on the probability", "share of the map's positive part"


def shortcut_figures(runs: Sequence[Run]) -> list[ReportFigure]:
    """Effects and maps against the strength of the shortcut, a figure for each setting in which it differs.

    Runs of one strength that differ in their seed or in their intervention alone stand in one figure.
    """
    known = [run for run in runs if isinstance(run.config.get("dataset", {}).get("shortcut"), (int, float))]
    groups = alike(known, apart_from=[SHORTCUT, "seed", "intervention"])
    names = own_settings(groups)
    report_figures: list[ReportFigure] = []
    for key, group in groups.items():
        report_figures += _figures_of_group(group, names[key], f"_{len(report_figures) + 1}" if report_figures else "")
    return report_figures


def _figures_of_group(runs: Sequence[Run], own: str, end: str) -> list[ReportFigure]:
    by_strength: dict[float, list[Run]] = {}
    for run in runs:
        by_strength.setdefault(float(run.config["dataset"]["shortcut"]), []).append(run)
    if len(by_strength) < 2:
        return []
    rows: list[dict[str, Any]] = []
    for strength, found in sorted(by_strength.items()):
        explained = [run for run in found if (run.folder / MAPS_FILE).is_file()]
        rows += _effects(strength, found)
        rows += _energies(strength, explained) if explained else ()
    if not rows:
        return []
    order = {TRUE: 0, PAINTED: 1}
    frame = pd.DataFrame(rows).sort_values("panel", key=lambda panel: panel.map(order).fillna(2), kind="stable")
    if runs[0].config["dataset"].get("task") == "multiclass" and frame["class"].nunique() == 2:
        frame = frame[frame["class"] != frame["class"].iloc[0]]  # its effects are the other one's with another sign
    seeds = len({run.seed for run in runs})
    pool = f" The images of {seeds} seeds are pooled." if seeds > 1 else ""
    caption = (
        "Effects of each object as the correlation of the tag with the disease grows in training: the "
        "mean effect of taking the object away, and the share of each explainer's map on it (area: the share of a "
        f"uniform map). {setup_sentence(runs)} n = {span(frame['objects'])} objects a point.{pool} Whiskers: "
        f"{MEAN_INTERVALS}.{missing_intervals(frame)}"
    )
    figure = shortcut_lines(frame, SHORTCUT)
    title = f"The pull of a shortcut: {own}" if own else "The pull of a shortcut"
    return [ReportFigure(f"shortcut{end}", title, caption, figure, frame)]


def _effects(strength: float, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """A point for each kind of object and class: the true effect, and that of painting where a run painted.

    What is painted with different fills has a series for each of them.
    """
    fills = {run.folder: describe(run.config.get("intervention", {}).get("fill")) for run in runs}
    true = pd.concat([true_effects(run.folder) for run in runs])
    painted = pd.concat([paired(object_rows(run.folder)).assign(fill=fills[run.folder]) for run in runs])
    several = painted["fill"].nunique() > 1
    for frame, panel, value in ((true.assign(fill=""), TRUE, "effect"), (painted, PAINTED, "difference")):
        clean = frame[frame["condition"] == CLEAN]
        for (label, kind, fill), found in clean.groupby(["class", "kind", "fill"], sort=False):
            series = f"{kind}, {fill}" if fill and several else kind
            at = {"class": label, "measure": EFFECT, "panel": panel, "series": series, "x": strength}
            yield at | _point(found, value)


def _energies(strength: float, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Points by explainer, class and kind of object that speaks for no class, and what a uniform map has there."""
    maps = pd.concat([object_scores(run.folder) for run in runs])
    for (label, kind), found in maps[maps["label"].isna()].groupby(["class", "kind"], sort=False):
        at = {"class": label, "measure": SHARE, "panel": f"energy on the {kind}", "x": strength}
        for explainer, own in found.groupby("explainer", sort=False):
            yield at | {"series": explainer} | _point(own, "energy")
        yield at | {"series": AREA} | _point(own, "area")  # the same for each explainer


def _point(found: pd.DataFrame, value: str) -> dict[str, Any]:
    interval = mean_interval(found[value].to_numpy(float), found["group"].to_numpy(), RESOLUTION)
    ends = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "reason": interval.reason}
    return ends | {"objects": len(found)}
