"""Plots of detectors: operating curves, distributions of scores, differences from a reference, and tables by family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from dovision.functional.detection import Floats
from dovision.functional.intervals import PAIRED_INTERVALS
from dovision.report.plots import draw_ecdf, ecdf, panel_rows, with_legend
from dovision.report.report_figure import ReportFigure, caption, sample_size
from dovision.report.style import (
    FAINT,
    INK,
    LINE,
    PAPER,
    canvas,
    logarithmic,
    series,
    shortened,
    shortened_apart,
    styled,
)
from dovision.results.detection_summary import WHOLE_FAMILY, worst_case
from dovision.results.detection_tables import DETECTOR, NOISE, TEST, all_but, best_variant, detector_label, preferred
from dovision.results.detector_comparison import read_comparison
from dovision.results.display_names import display_name
from dovision.results.finding import bracketed
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN

RATE_MARKERS = {"1": "o", "5": "s"}  # of the points in use, by the rate in percent
_SHOWN = 3  # epsilons that are drawn side by side
_ATTACKED = "attacked"
LINEAR = 0.01  # up to this difference an axis is linear: a small lead is to be seen beside those who are far behind
TICKS = (-1, -0.1, -0.01, 0, 0.01, 0.1, 1)
_AGAINST = {"clean": "auroc", "noise": "auroc_noise"}


def spaced(eps: pd.Series[float], most: int = _SHOWN) -> list[float]:
    """Evenly spaced positive epsilons, at most `most`, including the smallest and the largest."""
    sizes = np.sort(eps[eps > 0].unique())
    places = np.unique(np.linspace(0, len(sizes) - 1, min(most, len(sizes))).round().astype(int))
    return [float(size) for size in sizes[places]]


def operating_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Curves of each detector's preferred variant: worst-case successful attacks against clean images.

    Args:
        scores: from `read_scores` or `preferred_scores`.

    Returns:
        detector, eps, threshold, false (share of clean images at or above it), found (of attacked ones), precision
        (nan where none is found).
    """
    curves = []
    test = preferred(scores[scores["split"] == TEST])
    for key, of_detector in test.groupby(DETECTOR, observed=True, sort=False):
        clean = of_detector.loc[of_detector["attack"] == CLEAN, "score"].to_numpy(float)
        for eps in spaced(test["eps"]):
            attacked = worst_case(of_detector[of_detector["eps"] == eps]).query("success == 1")["score"].to_numpy(float)
            if len(attacked):
                curves.append(_curve(attacked, clean).assign(detector=detector_label(*map(str, key)), eps=eps))
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=["detector", "eps"])


def distributions(scores: pd.DataFrame) -> pd.DataFrame:
    """Score distributions at a middle epsilon: clean images, noise, and worst-case successful attacks.

    Returns:
        detector, condition ("clean", "random_sign" or "attacked"), eps, images, share (0 to 1) and value,
        the score at or below which lies that share.
    """
    test = preferred(scores[scores["split"] == TEST])
    sizes = spaced(test["eps"])
    eps = sizes[len(sizes) // 2] if sizes else np.nan
    curves = []
    for key, of_detector in test.groupby(DETECTOR, observed=True, sort=False):
        same = of_detector[of_detector["eps"] == eps]
        conditions = {CLEAN: of_detector[of_detector["attack"] == CLEAN], NOISE: same[same["attack"] == NOISE]}
        conditions[_ATTACKED] = worst_case(same).query("success == 1")
        for condition, rows in conditions.items():
            if len(rows):
                columns = {"detector": detector_label(*map(str, key)), "condition": condition, "eps": eps}
                curves.append(ecdf(rows["score"]).assign(**columns, images=len(rows)))
    return pd.concat(curves, ignore_index=True)


def _curve(attacked: Floats, clean: Floats, most: int = 150) -> pd.DataFrame:
    """Operating points at thresholds that are dense where few clean scores lie above."""
    attacked, clean = np.sort(attacked), np.sort(clean)
    top = np.unique(np.geomspace(1, len(clean), most).astype(int))
    even = np.unique(np.linspace(0, len(attacked) - 1, most).astype(int))
    thresholds = np.unique(np.concatenate([clean[-top], attacked[even]]))[::-1]
    detected, false = (len(s) - np.searchsorted(s, thresholds, "left") for s in (attacked, clean))
    shares = {"threshold": thresholds, "false": false / len(clean), "found": detected / len(attacked)}
    return pd.DataFrame(shares | {"precision": np.where(detected > 0, detected / (detected + false), np.nan)})


def operating_points(rows: pd.DataFrame) -> pd.DataFrame:
    """Select rows of `detection`: detector (label), eps, rate (text), false, found and precision."""
    points = []
    for rate in RATE_MARKERS:
        detected, false = rows[f"tpr_{rate}"], rows[f"false_clean_{rate}"]
        right, wrong = detected * rows["prevalence"], false * (1 - rows["prevalence"])
        point = {"false": false, "found": detected, "precision": right / (right + wrong)}
        points.append(pd.DataFrame({"detector": rows["label"], "eps": rows["eps"], "rate": rate, **point}))
    return pd.concat(points)


@styled
def operating_curves_plot(curves: pd.DataFrame, operating: pd.DataFrame) -> Figure:
    """Plot ROC curves above precision-recall curves, a column per epsilon.

    Args:
        curves: from `operating_curves`.
        operating: from `operating_points`, the points in use.
    """
    sizes, detectors = list(dict.fromkeys(curves["eps"])), list(dict.fromkeys(curves["detector"]))
    figure = canvas(0.5 + 2.0 * max(len(sizes), 2), 4.4)
    panels = figure.subplots(2, len(sizes), squeeze=False, sharex="row", sharey=True)
    lowest = max(curves.loc[curves["false"] > 0, "false"].min(), 1e-4)
    chance = np.geomspace(lowest, 1)
    for eps, (roc, precision_recall) in zip(sizes, panels.T, strict=True):
        roc.plot(chance, chance, color=INK, linewidth=0.9, linestyle=":")
        prevalence = curves.loc[(curves["eps"] == eps) & (curves["false"] == 1) & (curves["found"] == 1), "precision"]
        for share in prevalence.unique():
            precision_recall.axhline(share, color=INK, linewidth=0.9, linestyle=":")
        for axes, across, up in ((roc, "false", "found"), (precision_recall, "found", "precision")):
            for name, rows in curves[curves["eps"] == eps].groupby("detector", sort=False):
                look = series(detectors.index(str(name))) | {"drawstyle": "steps-post"}
                axes.plot(rows[across].clip(lower=lowest), rows[up], label=display_name(str(name)), **look)
            for name, rate, *point in operating.loc[operating["eps"] == eps, ["detector", "rate", across, up]].values:
                colour = series(detectors.index(name))["color"]
                axes.plot(*point, color=colour, marker=RATE_MARKERS[rate], markersize=5, markeredgecolor=PAPER)
            axes.set_ylim(0, 1.03)
            axes.grid()
        roc.set_title(f"epsilon {eps:.3g}")
        roc.set(xscale="log", xlim=(lowest, 1), xlabel="clean images rejected")
        roc.xaxis.set_major_formatter("{x:g}")
        roc.xaxis.set_minor_formatter(NullFormatter())
        precision_recall.set(xlim=(0, 1), xlabel="attacked images found (recall)")
    panels[0, 0].set_ylabel("attacked images found")
    panels[1, 0].set_ylabel("precision")
    return with_legend(figure)


@styled
def score_distributions(frame: pd.DataFrame, limits: dict[str, float]) -> Figure:
    """Plot cumulative score distributions, a panel per detector; logarithmic if scores are far apart.

    Args:
        frame: columns detector, condition, images, share (0 to 1), value.
        limits: by detector the threshold in use, drawn as a line.
    """
    figure, panels = detector_panels(frame["detector"], "score", "share at or below")
    looks: dict[str, dict[str, Any]] = {CLEAN: series(-1), NOISE: series(0) | {"linestyle": "--"}}
    for axes, (name, of_detector) in zip(panels, frame.groupby("detector", sort=False), strict=False):
        for condition, rows in of_detector.groupby("condition", sort=False):
            draw_ecdf(axes, rows, display_name(str(condition)), looks.get(str(condition), series(1)))
        axes.axvline(limits[str(name)], color=FAINT, linewidth=1.2, label="threshold")
        inner = of_detector[of_detector["share"].between(0.01, 0.99)]["value"]
        low, high = float(inner.min()), float(inner.max())
        if low > 0 and high > 30 * low:
            logarithmic(axes, ticks=4)
        if high > low:
            axes.set_xlim(low, high)
        axes.set_ylim(0, 1.02)
        axes.grid()
    return with_legend(figure)


def detector_panels(detectors: pd.Series[str], x: str, y: str) -> tuple[Figure, list[Axes]]:
    """Create a panel per detector, titled with its name."""
    titles = (
        "\n".join(shortened(line, 40) for line in display_name(name).replace(", ", "\n", 1).splitlines())
        for name in dict.fromkeys(detectors)
    )
    return panel_rows(titles, (x, y), (1.9, 1.7))


def comparison_figures(run: Run) -> Iterator[ReportFigure]:
    """Figures of AUROC differences from the reference, by family, with paired intervals; none without one."""
    rows = read_comparison(run.folder)
    if rows.empty:  # no attack has succeeded
        return
    rows = rows[rows["attack"] == WHOLE_FAMILY]
    if rows["family"].nunique() > 1:  # whole families that the detector has not seen; of a single one the widest fit
        rows = rows[(rows["fitted_on"] == "") | (rows["fitted_on"] == rows["family"].map(all_but))]
    rows = best_variant(rows).assign(label=lambda frame: frame["detector"])
    if rows.empty:
        return
    apart = (rows["fitted_on"] != "") & (rows["reference_fitted_on"] == "")
    others = ", ".join(map(display_name, dict.fromkeys(rows.loc[apart, "detector"])))
    reference = " or ".join(map(display_name, dict.fromkeys(rows["reference"])))
    text = (
        f"AUROC of each detector minus that of {reference} on the same images, of successful attacks of a family at "
        "all epsilons together, against clean images and against noise; above 0: ahead. Of detectors fitted to attacks "
        "the reference is its form fitted to the same attacks, where the run has it"
        f"{f'; fitted against unfitted: {others}' if others else ''}. Beyond {LINEAR} the axis is logarithmic. A "
        f"supervised detector was fitted to all other families. No attack is adaptive."
    )
    counted = sample_size(rows, "successful", "successful attacks")
    words = caption(text, [run], counted, f"Whiskers or brackets: {PAIRED_INTERVALS}. One seed.", rows)
    figure, table = _difference_plot(rows), family_table(rows, _AGAINST)
    yield ReportFigure("detection_comparison", f"Detectors against {reference}", words, figure, rows, table)


def family_table(rows: pd.DataFrame, metrics: Mapping[str, str]) -> pd.DataFrame:
    """Table of detectors by family; each cell lists its metrics with intervals.

    Args:
        rows: columns label, family, and each metric with its interval.
        metrics: columns, by the word that stands before the number.
    """
    cells = {
        key: "\n".join(f"{head} {cell(of_cell, name)}" for head, name in metrics.items())
        for key, of_cell in rows.groupby(["label", "family"], sort=False)
    }
    labels, families = (list(dict.fromkeys(rows[name])) for name in ("label", "family"))
    table = pd.Series(cells).unstack(fill_value="-").loc[labels, families]
    return table.rename(index=display_name, columns=display_name).rename_axis("detector")


def cell(rows: pd.DataFrame, *columns: str) -> str:
    """Format the first row's numbers with intervals, one per line; over seeds, those of each training."""
    texts = (rows[name].iloc[:1] if "seeds" in rows else bracketed(rows[:1], name) for name in columns)
    return "\n".join(text for of_name in texts for text in of_name).replace("0.", ".") or "-"


@styled
def _difference_plot(rows: pd.DataFrame) -> Figure:
    """Plot AUROC differences with whiskers, a panel per family, a row per detector."""
    labels, families = (list(dict.fromkeys(rows[name])) for name in ("label", "family"))
    size = 1.9, 0.8 + 0.2 * len(labels)
    figure, panels = panel_rows(map(display_name, families), ("difference of AUROC", ""), size, sharey=True)
    values = rows[[f"{name}{end}" for name in _AGAINST.values() for end in ("", "_low", "_high")]].to_numpy(float)
    lowest, highest = 1.3 * np.nanmin([*values.flat, -LINEAR]), 1.3 * np.nanmax([*values.flat, LINEAR])
    ticks = [tick for tick in TICKS if lowest <= tick <= highest]
    for axes, family in zip(panels, families, strict=True):
        of_family = rows[rows["family"] == family]
        axes.axvline(0, color=LINE, linewidth=0.9)
        for number, (head, name) in enumerate(_AGAINST.items()):
            places = of_family["label"].map(labels.index).to_numpy(float) + 0.3 * (number - 0.5)
            ends = of_family[name] - of_family[f"{name}_low"], of_family[f"{name}_high"] - of_family[name]
            whiskers = [end.fillna(0).clip(lower=0).to_numpy(float) for end in ends]
            look = {"color": series(number)["color"], "label": f"against {head}"}
            axes.errorbar(of_family[name], places, xerr=whiskers, fmt="o", markersize=3, linewidth=0.9, **look)
        axes.grid(axis="x")
        axes.set_xscale("symlog", linthresh=LINEAR)
        axes.set_xlim(lowest, highest)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    panels[0].set_yticks(range(len(labels)), shortened_apart(map(display_name, labels), 40))
    panels[0].set_ylim(len(labels) - 0.4, -0.6)
    return with_legend(figure)
