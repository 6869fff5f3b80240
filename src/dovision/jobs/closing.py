"""The end of a sweep on the terminal: its jobs as a table, what is not completed, and the command that comes next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from dovision.io.terminal_tables import TextTable, print_states, print_tables
from dovision.results.display_names import MEAN_EFFECT, METRIC_HEADS
from dovision.results.factors import factor_heads, level_texts
from dovision.results.finding import number_form, number_text
from dovision.results.image_ranges import join_ranges
from dovision.results.run_record import Run, factors_of
from dovision.results.sweep_summary import PROGRAM, closing, findings, metrics_of
from dovision.results.tables import CLEAN

# The last one of the last condition, the others of the clean one.
_HEADLINES = ("accuracy", MEAN_EFFECT, "success_rate")


def print_closing(jobs: Sequence[Run], program: str = PROGRAM) -> None:
    """Print the table of a sweep's jobs, its findings, and what is not completed, on standard error."""
    rows = join_ranges(jobs)
    if jobs:
        print_tables([closing_table(rows)])
    print_states("\n".join([closing(jobs, program), *findings(rows)]))


def next_command(folder: Path) -> str:
    """Line with the command that draws the page of the runs in a folder."""
    below = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    return f"next: {shlex.join(['dovision-report', f'sweep={below}'])}"


def closing_table(jobs: Sequence[Run]) -> TextTable:
    """Table of jobs: factors, state, seconds, and headline numbers."""
    factors = factors_of(jobs)
    settings = factors.apply(level_texts).rename(columns=factor_heads(list(factors)))
    numbers_of_jobs = [headline_numbers(metrics_of(job)) for job in jobs]
    metrics = [name for name in _HEADLINES if any(name in values for values in numbers_of_jobs)]
    rows = [
        [
            job.label,
            *values,
            job.state,
            "-" if (seconds := job.record.get("wall_seconds")) is None else f"{seconds:,.1f}",
            *(numbers.get(name, "-") for name in metrics),
        ]
        for job, values, numbers in zip(jobs, settings.to_numpy().tolist(), numbers_of_jobs, strict=True)
    ]
    heads = ["job", *settings, "state", "seconds", *(METRIC_HEADS[name] for name in metrics)]
    return TextTable(heads, rows, names=len(settings.columns) + 2)


def headline_numbers(metrics: Mapping[str, float]) -> dict[str, str]:
    """Metrics of a job as text: clean ones, and the attack's success in the last condition that has one."""
    chosen = {}
    for name in _HEADLINES:
        keys = [key for key in metrics if key.rpartition("/")[2] == name]
        keys = keys[-1:] if name == _HEADLINES[-1] else [key for key in keys if key == f"{CLEAN}/{name}"]
        for key in keys:
            chosen[name] = number_text(metrics[key], number_form(name, metrics[key]))
    return chosen
