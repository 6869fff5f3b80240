"""The end of a run on the terminal: its headline numbers, its findings, and the command that comes next."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from dovision.functional.estimates import FEW_IMAGES
from dovision.functional.intervals import Number
from dovision.functional.norms import condition_name
from dovision.io.process_state import is_rank_zero
from dovision.io.terminal_tables import TextTable, print_tables
from dovision.jobs.closing import next_command
from dovision.results.detection_summary import NOT_ADAPTIVE, WHOLE_FAMILY, unseen
from dovision.results.detection_tables import DETECTOR, NOISES, detector_label, preferred
from dovision.results.display_names import METRIC_HEADS, display_name
from dovision.results.effect_findings import norm_of
from dovision.results.finding import HEADLINE_METRICS, bracketed, interval_text, metric_text
from dovision.results.map_summary import whole_scores
from dovision.results.refuter_findings import verdict_table
from dovision.results.refuters import refutations
from dovision.results.run_findings import by_heading, run_findings
from dovision.results.run_record import Run, read_run
from dovision.results.schemas import read_summary
from dovision.results.tables import CLEAN

_ESTIMATE = "estimate [95%]"


def print_headlines(folder: Path) -> None:
    """Print headline numbers and findings of a completed run, and the command that draws its page.

    Jobs of a sweep are silent: the sweep ends with a table of them all.
    """
    if HydraConfig.get().mode != RunMode.RUN or not is_rank_zero():
        return
    run = replace(read_run(folder), summary=read_summary(folder))  # also of a run that is partial
    summary = run.summary
    tables = [condition_tables({_head(run, name): row for name, row in summary["conditions"].items()})]
    if len(maps := whole_scores(summary)):
        tables.append(map_tables(maps))
    if summary.get("detection"):
        tables.append(detection_tables(summary["detection"]))
    if summary.get("refutations"):
        tables.append(refuter_tables(run.folder))
    print_tables(*tables)
    notes = (note for condition in summary["conditions"].values() for note in condition["notes"])
    for note in (note for note in notes if note.endswith(f": {FEW_IMAGES}.")):  # of numbers of the table
        print(note, file=sys.stderr)
    for heading, findings in by_heading(run_findings(run)).items():
        print("\n".join([f"{heading}:", *(f"  {finding.text}" for finding in findings)]), file=sys.stderr)
    print(next_command(folder), file=sys.stderr)


def _head(run: Run, condition: str) -> str:
    """Condition with the norm of its epsilon."""
    return condition if condition == CLEAN else f"{norm_of(run, condition)} {display_name(condition)}"


def condition_tables(conditions: Mapping[str, Mapping[str, Any]]) -> list[TextTable]:
    """Tables of headline numbers with intervals, condition as shown by metric; stacked for a narrow terminal."""
    metrics = [name for name in HEADLINE_METRICS if any(row[name] is not None for row in conditions.values())]
    heads = {name: METRIC_HEADS[name].partition(",")[0] for name in metrics}
    cells = {
        condition: {head: metric_text(name, row[name]) for name, head in heads.items()}
        for condition, row in conditions.items()
    }
    return _layouts("condition", cells)


def detection_tables(rows: Sequence[Mapping[str, Any]]) -> list[TextTable]:
    """Tables of each detector's AUROC against non-adaptive attacks, in the layouts of `condition_tables`.

    First families that it was not fitted to, then the worst case.
    """
    frame = pd.DataFrame(rows)
    whole = frame["attack"] == WHOLE_FAMILY
    others = preferred(frame[(frame["attacker"] == NOT_ADAPTIVE) & ~frame["attack"].isin(NOISES) & ~whole])
    cells: dict[str, dict[str, str]] = {}
    for row in pd.concat([unseen(frame), others]).to_dict("records"):
        eps = "any epsilon" if pd.isna(row["eps"]) else condition_name(row["eps"])
        head = row["family"] if row["attack"] == WHOLE_FAMILY else f"{row['attack']}, {eps}"
        cells_of_row = cells.setdefault(display_name(detector_label(*(row[name] for name in DETECTOR))), {})
        cells_of_row[display_name(head)] = interval_text(Number.of(row, "auroc"))
    return _layouts("detector: AUROC", cells)


def refuter_tables(folder: Path) -> list[TextTable]:
    """Tables of the refuters' verdicts on each headline effect, in the layouts of `condition_tables`."""
    cells: dict[str, dict[str, str]] = {}
    for headline, refuter, word, number in verdict_table(refutations(folder)).itertuples(name=None):
        cells.setdefault(refuter, {})[headline] = f"{word}: {number}"
    return _layouts("refuters", cells)


def map_tables(scores: pd.DataFrame) -> list[TextTable]:
    """Tables of explainers' scores, in the layouts of `condition_tables`; `scores` as of `whole_scores`."""
    cells: dict[str, dict[str, str]] = {}
    for row, text in zip(scores.to_dict("records"), bracketed(scores), strict=True):
        cells.setdefault(display_name(row["explainer"]), {})[METRIC_HEADS[row["metric"]]] = text
    return _layouts("maps", cells)


def _layouts(head: str, cells: Mapping[str, Mapping[str, str]]) -> list[TextTable]:
    """Layouts from widest to narrowest: rows, columns, or both stacked."""
    names = list(dict.fromkeys(name for texts in cells.values() for name in texts))
    stacked = []
    for key, texts in cells.items():
        present = [(name, text) for name, text in texts.items() if text != "-"]
        stacked += [["" if number else key, name, text] for number, (name, text) in enumerate(present)]
    return [
        TextTable([head, *names], [[key, *(texts.get(name, "-") for name in names)] for key, texts in cells.items()]),
        TextTable([head, *cells], [[name, *(texts.get(name, "-") for texts in cells.values())] for name in names]),
        TextTable([head, "", _ESTIMATE], stacked, names=2),
    ]
