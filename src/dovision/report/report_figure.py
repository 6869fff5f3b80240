"""Figures with their captions, their numbers and the sentences that captions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dovision.functional.intervals import NOT_MEASURED, SATURATED, level_of_selected
from dovision.io import paths
from dovision.io.text_files import write_text
from dovision.report.latex import Ruled, latex_figure, latex_table
from dovision.report.style import save_figure
from dovision.store.run_record import Run, describe

_COLUMN = 5  # inches; a wider figure spans both columns of a paper


@dataclass(frozen=True)
class ReportFigure:
    """A figure, the words below it, and the numbers behind it."""

    name: str
    title: str
    caption: str
    figure: Figure
    data: pd.DataFrame
    table: Ruled | None = None  # what the figure shows, where it is a table
    mixture: str = ""  # in what its runs differ that they should share; see `mixture.mixed`


def save_report_figure(report_figure: ReportFigure, folder: Path) -> str:
    """Write the figure as SVG, PDF and PNG, its numbers as CSV, and a LaTeX float with its caption; returns the SVG.

    A table is a table in LaTeX; any other figure is its PDF there.
    """
    paths.file_name("the name of a figure", report_figure.name)
    save_figure(report_figure.figure, report_figure.data, folder, report_figure.name)
    if report_figure.table is None:
        wide = report_figure.figure.get_figwidth() > _COLUMN
        tex = latex_figure(report_figure.name, report_figure.caption, wide)
    else:
        tex = latex_table(report_figure.table, report_figure.caption, report_figure.name)
    write_text(folder / f"{report_figure.name}.tex", tex)
    return (folder / f"{report_figure.name}.svg").read_text(encoding="utf-8")


def bracketed(row: pd.Series, name: str, form: str = ".3f") -> str:
    """The number NAME of a row with its interval, as "estimate [low, high]".

    "-" stands for what there is not, the number or its interval; "saturated" for an effect that is rounding. A number
    that has no interval by its nature, an empty reason, stands alone.

    Args:
        row: with NAME, NAME_low and NAME_high, and, where it has intervals that are withheld, NAME_reason.
        name: of the number.
        form: how each number is written.
    """
    estimate, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(estimate):
        return "-"
    if row.get(f"{name}_reason") == SATURATED:
        return "saturated"
    if pd.isna(low) and row.get(f"{name}_reason") == "":
        return f"{estimate:{form}}"
    interval = "-" if pd.isna(low) else f"{low:{form}}, {high:{form}}"
    return f"{estimate:{form}} [{interval}]"


def missing_intervals(frame: pd.DataFrame) -> str:
    """One sentence that says how many intervals of a table are withheld, and why, after a space; empty where none is.

    Args:
        frame: with columns that end in "reason".
    """
    columns = [name for name in frame if name == "reason" or name.endswith("_reason")]
    reasons = pd.concat([frame[name] for name in columns]) if columns else pd.Series(dtype=object)
    counts = reasons[~reasons.fillna("").isin(["", NOT_MEASURED])].value_counts()
    if counts.empty:
        return ""
    listed = "; ".join(f"{reason} ({count})" for reason, count in counts.items())
    return f" No interval is given where none would hold: {listed}."


def selected(shown: int, measured: int) -> str:
    """A remark on the intervals of the `shown` largest of `measured` numbers, drawn at `level_of_selected`."""
    if shown >= measured:
        return ""
    level = f"{100 * level_of_selected(shown, measured):.6g}%"
    return f"; as the {shown:,} largest of {measured:,} are shown, each is of {level} (Benjamini and Yekutieli)"


def setup_sentence(runs: Sequence[Run]) -> str:
    """Data, model, intervention, attack and seeds in one sentence; what differs between the runs is listed."""
    parts = []
    for key in ("dataset", "model", "intervention", "attack"):
        known = list(dict.fromkeys(_setting(key, run.config[key]) for run in runs if run.config.get(key)))
        more = [f"{len(known) - 3} more"] if len(known) > 3 else []
        parts.append(" or ".join(known[:3] + more))
    seeds = sorted({run.seed for run in runs})
    parts.append(f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(map(str, seeds))})")
    return f"{', '.join(filter(None, parts))}."


def images(counts: pd.Series) -> str:
    """The number of images behind a figure, in one sentence."""
    return f"n = {span(counts)} images in {'each' if counts.nunique() == 1 else 'an'} condition."


def span(counts: pd.Series) -> str:
    """The least and the largest of some counts; one number where they are equal."""
    low, high = counts.min(), counts.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _setting(key: str, part: Any) -> str:
    """Interventions and attacks with all their numbers, data and models by their names."""
    if key in ("intervention", "attack"):
        return describe(part)
    return describe({name: part[name] for name in ("_target_", "name") if name in part})
