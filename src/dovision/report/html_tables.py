"""The page's tables: which jobs there are and what became of them, headline numbers, and what differs between jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from dovision.analysis.headline_text import HEADLINE_METRICS, METRIC_HEADS
from dovision.analysis.reported import REPORTED, comparison
from dovision.analysis.summary import QUALITY
from dovision.report.figures.results import cells, results_frame
from dovision.store import config_diff
from dovision.store.run_record import Run

ELSEWHERE = ("output_root", "note", "reported")
_MOST = 6  # settings that get a column of their own in the table of jobs


class Cell(NamedTuple):
    """A cell's text, what its column is sorted by where that is not the text, and a class for the style sheet."""

    text: str
    order: str = ""
    kind: str = ""


class Listing(NamedTuple):
    """A table: its heads, and its rows, each of which begins with its name."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def settings_of(run: Run) -> dict[str, str]:
    """All settings of a run by dotted names, but for those that are elsewhere on the page; none without a config."""
    return config_diff.flattened({name: value for name, value in run.config.items() if name not in ELSEWHERE})


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings in which runs differ, first those that were set on the command line."""
    _, names = config_diff.split([settings_of(run) for run in runs if run.config])
    swept = {override.partition("=")[0].lstrip("+~") for run in runs for override in run.overrides}
    return sorted(names, key=lambda name: name not in swept)


def shared(runs: Sequence[Run]) -> dict[str, str]:
    """The settings that all runs have in common."""
    return config_diff.split([settings_of(run) for run in runs if run.config])[0]


def difference_table(runs: Sequence[Run]) -> Listing:
    """A row per setting in which runs differ: its values, each with the number of jobs that have it."""
    records = [settings_of(run) for run in runs if run.config]
    rows = []
    for name in differing(runs):
        counts = config_diff.counted(records, name)
        listed = ", ".join(f"{value} ({_jobs(count)})" for value, count in counts.items())
        rows.append([Cell(name), Cell(listed)])
    return Listing(("setting", "values"), rows)


def job_table(runs: Sequence[Run]) -> Listing:
    """A row per run, whatever became of it, with the reason where it is of no use."""
    names = differing(runs)[:_MOST]
    rows = []
    for run in runs:
        own = settings_of(run)
        values = [Cell(own.get(name) or "-") for name in names]
        seconds = run.facts.get("wall_seconds")
        time = Cell("-") if seconds is None else Cell(f"{seconds:,.1f}", str(seconds), "number")
        reason = Cell(run.failure or str(run.facts.get("reason") or ""), "", "reason")
        rows.append([Cell(run.label), Cell(run.state, "", f"state {run.state}"), reason, *values, time])
    return Listing(("job", "state", "reason", *names, "seconds"), rows)


def headline_table(runs: Sequence[Run]) -> Listing:
    """A row per (job, condition) of completed runs: accuracy and metrics of effects and attacks, with intervals."""
    return _results(runs, HEADLINE_METRICS)


def quality_table(runs: Sequence[Run]) -> Listing:
    """A row per (job, condition) of completed runs: each metric of the classifier's quality with its interval."""
    return _results(runs, QUALITY)


def reported_table(runs: Sequence[Run]) -> Listing:
    """A row per number that a source reports, for each completed run that is compared with one."""
    rows = []
    for run in runs:
        compared = run.facts.get(REPORTED)
        if compared:
            names = [Cell(run.label), Cell(compared["source"])]
            rows += [[*names, *map(Cell, row)] for row in comparison(compared).itertuples(index=False)]
    return Listing(("job", "source", "number", "reported", "here"), rows)


def _results(runs: Sequence[Run], metrics: Sequence[str]) -> Listing:
    rows = []
    for _, row in results_frame(runs).iterrows():
        condition, images, labels, *texts = cells(row, metrics)
        numbers = [
            Cell(text, "" if pd.isna(row[name]) else f"{row[name]:.6g}", "number")
            for name, text in zip(metrics, texts, strict=True)
        ]
        counted = Cell(f"{images} ({labels})", str(row["images"]))
        rows.append([Cell(str(row["job"])), Cell(condition, f"{row['eps']:.6g}"), counted, *numbers])
    return Listing(("job", "condition", "images", *(METRIC_HEADS[name] for name in metrics)), rows)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
