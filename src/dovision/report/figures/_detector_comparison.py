"""Detectors by families of attacks, as a table, and their differences from a reference detector, as a figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dovision.functional.intervals import PAIRED_INTERVALS
from dovision.report.plots import panel_rows, with_legend
from dovision.report.report_figure import ReportFigure, caption, sample_size
from dovision.report.style import LINE, series, shortened_apart, styled
from dovision.results.detection_summary import WHOLE_FAMILY
from dovision.results.detection_tables import all_but, best_variant
from dovision.results.detector_comparison import read_comparison
from dovision.results.display_names import display_name
from dovision.results.number_text import bracketed
from dovision.results.run_record import Run

LINEAR = 0.01  # up to this difference an axis is linear: a small lead is to be seen beside those who are far behind
TICKS = (-1, -0.1, -0.01, 0, 0.01, 0.1, 1)
_AGAINST = {"clean": "auroc", "noise": "auroc_noise"}


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
