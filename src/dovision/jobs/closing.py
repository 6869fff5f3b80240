"""The end of a run or of a sweep on the terminal: numbers, findings, what is not completed, and what comes next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dovision.functional.estimates import FEW_IMAGES
from dovision.io.process_state import is_rank_zero
from dovision.results.display_names import MEAN_EFFECT, METRIC_HEADS
from dovision.results.effect_findings import condition_head
from dovision.results.factors import factor_heads, level_texts
from dovision.results.finding import HEADLINE_METRICS, metric_text, number_form, number_text
from dovision.results.image_ranges import join_ranges
from dovision.results.run_findings import by_question, run_findings
from dovision.results.run_record import Run, factors_of, read_run
from dovision.results.schemas import read_summary
from dovision.results.sweep_summary import PROGRAM, closing, findings, metrics_of, slow_jobs
from dovision.results.tables import CLEAN

# The last one of the last condition, the others of the clean one.
_HEADLINES = ("accuracy", MEAN_EFFECT, "success_rate")
_STYLES = {
    "completed": "green",
    "running": "cyan",
    **dict.fromkeys(("partial", "outdated", "interrupted"), "yellow"),
    **dict.fromkeys(("failed", "damaged"), "red"),
    "missing": "dim",
}
_WIDE = 1000  # columns where there is no terminal
_AROUND = 8  # lines of a terminal for what stands around tables


class TextTable(NamedTuple):
    """Table of text: heads, rows, and the number of leading name columns; the others hold numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def print_closing(jobs: Sequence[Run], program: str = PROGRAM) -> None:
    """Print the table of a sweep's jobs, its findings, and what is not completed, on standard error."""
    rows = join_ranges(jobs)
    print_table(closing_table(rows))
    print_states("\n".join([closing(jobs, program), *findings(rows)]))


def next_command(folder: Path) -> str:
    """Line with the command that draws the page of the runs in a folder."""
    below = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    return f"next: {shlex.join(['dovision-report', f'sweep={below}'])}"


def closing_table(jobs: Sequence[Run]) -> TextTable:
    """Table of jobs: factors, state, seconds, and headline numbers."""
    factors = factors_of(jobs)
    settings = factors.apply(level_texts).rename(columns=factor_heads(list(factors)))
    slow = slow_jobs(jobs)
    numbers_of_jobs = [headline_numbers(metrics_of(job)) for job in jobs]
    metrics = [name for name in _HEADLINES if any(name in values for values in numbers_of_jobs)]
    rows = [
        [
            job.label,
            *values,
            f"{job.state}, {slow[job.label]}" if job.label in slow else job.state,
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


def print_headlines(folder: Path) -> None:
    """Print headline numbers and findings of a completed run, a line each, and the command that draws its page.

    Jobs of a sweep are silent: the sweep ends with a table of them all.
    """
    if HydraConfig.get().mode != RunMode.RUN or not is_rank_zero():
        return
    run = replace(read_run(folder), summary=read_summary(folder))  # also of a run that is partial
    conditions = run.summary["conditions"]
    table = condition_table({condition_head(run, name): row for name, row in conditions.items()})
    if table.rows:  # none of pictures without labels
        print_table(table)
    notes = (note for condition in conditions.values() for note in condition["notes"])
    for note in (note for note in notes if note.endswith(f": {FEW_IMAGES}.")):  # of numbers of the table
        print(note, file=sys.stderr)
    for question, lines in by_question(run_findings(run)).items():
        print("\n".join([question, *(f"  {finding.text}" for finding in lines)]), file=sys.stderr)
    print(next_command(folder), file=sys.stderr)


def condition_table(conditions: Mapping[str, Mapping[str, Any]]) -> TextTable:
    """Table of headline numbers with intervals, metric by condition."""
    metrics = [name for name in HEADLINE_METRICS if any(row[name] is not None for row in conditions.values())]
    rows = [
        [METRIC_HEADS[name].partition(",")[0], *(metric_text(name, row[name]) for row in conditions.values())]
        for name in metrics
    ]
    return TextTable(["condition", *conditions], rows)


def print_table(table: TextTable) -> None:
    """Print a table; a terminal gets as many rows as it has room for, with cells that are wrapped to its width."""
    console = _console()
    most = max(console.height - _AROUND, 3) if console.is_terminal else None
    console.print(_rich(table._replace(rows=table.rows[:most]), console))
    if more := len(table.rows[most:]) if most else 0:
        console.print(f"and {more} more rows")


def print_states(text: str) -> None:
    """Print text with the names of states in colour."""
    styled = Text(text)
    for state, style in _STYLES.items():
        styled.highlight_words([state], style)
    _console().print(styled, soft_wrap=True)


def _console() -> Console:
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)


def _rich(layout: TextTable, console: Console) -> Table:
    box, space = (SIMPLE_HEAD, 1) if console.is_terminal else (None, 2)
    table = Table(box=box, pad_edge=False, padding=(0, space, 0, 0))
    for number, head in enumerate(layout.heads):
        table.add_column(Text(head), justify="left" if number < layout.names else "right")
    for row in layout.rows:
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
    return table
