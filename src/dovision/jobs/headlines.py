"""The end of a run on the terminal: its headline numbers, its findings, and the command that comes next."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from dovision.functional.estimates import FEW_IMAGES
from dovision.io.process_state import is_rank_zero
from dovision.io.terminal_tables import TextTable, print_tables
from dovision.jobs.closing import next_command
from dovision.results.display_names import METRIC_HEADS, display_name
from dovision.results.effect_findings import norm_of
from dovision.results.finding import HEADLINE_METRICS, metric_text
from dovision.results.run_findings import by_question, run_findings
from dovision.results.run_record import Run, read_run
from dovision.results.schemas import read_summary
from dovision.results.tables import CLEAN


def print_headlines(folder: Path) -> None:
    """Print headline numbers and findings of a completed run, a line each, and the command that draws its page.

    Jobs of a sweep are silent: the sweep ends with a table of them all.
    """
    if HydraConfig.get().mode != RunMode.RUN or not is_rank_zero():
        return
    run = replace(read_run(folder), summary=read_summary(folder))  # also of a run that is partial
    conditions = run.summary["conditions"]
    tables = condition_tables({_head(run, name): row for name, row in conditions.items()})
    if len(tables[0].heads) > 1:  # none of pictures without labels
        print_tables(tables)
    notes = (note for condition in conditions.values() for note in condition["notes"])
    for note in (note for note in notes if note.endswith(f": {FEW_IMAGES}.")):  # of numbers of the table
        print(note, file=sys.stderr)
    for question, findings in by_question(run_findings(run)).items():
        print("\n".join([question, *(f"  {finding.text}" for finding in findings)]), file=sys.stderr)
    print(next_command(folder), file=sys.stderr)


def _head(run: Run, condition: str) -> str:
    """Condition with the norm of its epsilon."""
    return condition if condition == CLEAN else f"{norm_of(run, condition)} {display_name(condition)}"


def condition_tables(conditions: Mapping[str, Mapping[str, Any]]) -> list[TextTable]:
    """Tables of headline numbers with intervals: condition by metric, metric by condition, and both stacked."""
    metrics = [name for name in HEADLINE_METRICS if any(row[name] is not None for row in conditions.values())]
    names = [METRIC_HEADS[name].partition(",")[0] for name in metrics]
    rows = [[condition, *(metric_text(name, row[name]) for name in metrics)] for condition, row in conditions.items()]
    turned = [list(column) for column in zip(*rows, strict=True)]
    stacked = []
    for condition, *texts in rows:
        present = [(name, text) for name, text in zip(names, texts, strict=True) if text != "-"]
        stacked += [["" if number else condition, name, text] for number, (name, text) in enumerate(present)]
    columns = [[name, *texts] for name, texts in zip(names, turned[1:], strict=True)]
    return [
        TextTable(["condition", *names], rows),
        TextTable(["condition", *conditions], columns),
        TextTable(["condition", "", "estimate [95%]"], stacked, names=2),
    ]
