"""The jobs of a sweep gathered in one table, from their run directories alone; and the same over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from dovision.analysis.image_ranges import join_ranges
from dovision.analysis.summary import METRICS, label_counts
from dovision.findings.sweep_findings import by_factors, pivots, sweep_sentences
from dovision.identity.differences import mixed
from dovision.io.atomic import replacing
from dovision.io.text_files import write_text
from dovision.store.display_names import metric_head
from dovision.store.run_directory import DAMAGED, RunDirectory
from dovision.store.run_files import RUN
from dovision.store.run_record import Run, read_config
from dovision.store.schemas import SUMMARY, read_summary
from dovision.store.tables import CLEAN

SWEEP_SUMMARY = "sweep_summary"  # .csv and .md in the sweep's folder
OVER_SEEDS = "sweep_seeds.csv"
GOOD = "completed"
_PIVOTS = 3  # headline numbers that have a table by factors


class Ended(NamedTuple):
    """Job at the end of its sweep; `reason` is empty if completed, `metrics` if not."""

    number: int
    overrides: tuple[str, ...]
    state: str
    seconds: float | None
    reason: str
    folder: Path
    command: str  # that does this job again
    metrics: Mapping[str, float]
    record: Mapping[str, Any] = MappingProxyType({})  # run.json
    labels: str = ""  # images by class
    config: Mapping[str, Any] = MappingProxyType({})  # empty where it cannot be read, as of a job that has not started

    def row(self) -> dict[str, Any]:
        """The job as a row of the table."""
        columns = {
            "job": self.number,
            "overrides": " ".join(self.overrides),
            "state": self.state,
            "seconds": self.seconds,
        }
        if tags := self.record.get("tags"):
            columns["tags"] = " ".join(tags)
        return {**columns, "reason": self.reason, "images": self.labels, **self.metrics, "dir": str(self.folder)}


def state_of(folder: Path) -> str:
    """State of a run directory; "damaged" if it cannot be read."""
    try:
        return RunDirectory(folder).state
    except OSError:
        return DAMAGED


def facts_of(folder: Path) -> dict[str, Any]:
    """Read run.json; empty if missing or damaged."""
    try:
        return RunDirectory(folder).read_record()
    except (ValueError, OSError):
        return {}


def ended(number: int, overrides: Sequence[str], folder: Path, command: str) -> Ended:
    """Read the end of a job from its run directory."""
    state, record = state_of(folder), facts_of(folder)
    reason, summary = _reason(state, record), dict[str, Any]()
    try:
        if state == GOOD:
            summary = read_summary(folder)
    except (ValueError, OSError) as error:
        state, reason = DAMAGED, str(error)
    seconds, config = record.get("wall_seconds"), read_config(folder)
    end = Ended(number, tuple(overrides), state, seconds, reason, folder, command, {}, record, "", config)
    return _with_numbers(end, summary)


def joined(jobs: Sequence[Ended]) -> list[Ended]:
    """Jobs, with completed ones that differ in their range of images alone as one (`join_ranges`)."""
    runs = [Run(job.folder, str(row), job.state, job.record, job.config, {}) for row, job in enumerate(jobs)]
    return [
        jobs[int(run.label)]
        if run.folder == jobs[int(run.label)].folder
        else _with_numbers(
            jobs[int(run.label)]._replace(
                overrides=run.overrides,
                seconds=run.record.get("wall_seconds"),
                folder=run.folder,
                record=run.record,
                config=run.config,
            ),
            run.summary,
        )
        for run in join_ranges(runs)
    ]


def _with_numbers(job: Ended, summary: Mapping[str, Any]) -> Ended:
    """Job with the headline numbers of its summary; unchanged by an empty one."""
    if not summary:
        return job
    metrics = {
        f"{condition}/{metric}": numbers[metric]["estimate"]
        for condition, numbers in summary["conditions"].items()
        for metric in METRICS
        if numbers[metric] is not None
    }
    return job._replace(metrics=metrics, labels=label_counts(summary["labels"]))


def write_sweep_summary(folder: Path, command: str, jobs: Sequence[Ended]) -> None:
    """Write sweep_summary.csv and .md, and, where there are several seeds of a setting, sweep_seeds.csv."""
    rows = joined(jobs)
    frame = _factors(rows)
    table, seeds = _table(rows), frame.query("seeds > 1 and estimate.notna()") if len(frame) else frame
    seeds = seeds.rename(columns={"estimate": "mean"}).drop(columns=["low", "high", "run"], errors="ignore")
    (folder / OVER_SEEDS).unlink(missing_ok=True)
    for name, rows in ((f"{SWEEP_SUMMARY}.csv", table), (OVER_SEEDS, seeds)):
        if len(rows):
            with replacing(folder / name) as partial:
                rows.to_csv(partial, index=False)
    text = [f"# {folder.name}", f"`{command}`", counts(jobs), *_mixed(jobs), *_by_factors(frame), _markdown(table)]
    failed = [job for job in jobs if job.state != GOOD]
    if failed:
        text += ["## Not completed", *(f"job {job.number}: {job.reason}\n\n    {job.command}" for job in failed)]
    write_text(folder / f"{SWEEP_SUMMARY}.md", "\n\n".join(text) + "\n")


def closing(jobs: Sequence[Ended]) -> str:
    """Closing message of a command: job counts by state, mixed origins, and how to complete each job."""
    lines = [counts(jobs), *_mixed(jobs)]
    for job in jobs:
        if job.state != GOOD:
            lines += [f"  job {job.number} {job.state}: {job.reason}", f"    {job.command}"]
    return "\n".join(lines)


def findings(jobs: Sequence[Ended]) -> list[str]:
    """Findings on a sweep's completed jobs by factor."""
    return sweep_sentences(_factors(jobs))


def counts(jobs: Sequence[Ended]) -> str:
    """Sentence with the number of jobs by state."""
    states = Counter(job.state for job in jobs)
    return f"{len(jobs)} jobs: {', '.join(f'{count} {state}' for state, count in states.items())}."


def _mixed(jobs: Iterable[Ended]) -> list[str]:
    return mixed({f"job {job.number}": job.record for job in jobs if job.state == GOOD})


def _factors(jobs: Sequence[Ended]) -> pd.DataFrame:
    """Headline numbers of completed jobs by factor; empty if no run can be read."""
    done = [job for job in jobs if job.state == GOOD and (job.folder / SUMMARY).is_file()]
    return by_factors([Run(job.folder, "", GOOD, job.record, job.config, read_summary(job.folder)) for job in done])


def _by_factors(frame: pd.DataFrame) -> list[str]:
    """Findings of a sweep, and its headline numbers by factor."""
    sentences = [f"- {text}" for text in sweep_sentences(frame)]
    tables = []
    for pivot in pivots(frame)[:_PIVOTS]:
        heads = [
            *pivot.factors,
            *(level if level == CLEAN else f"{pivot.across} {level}".strip() for level in pivot.levels),
        ]
        rows = pd.DataFrame([[*setting, *numbers] for setting, numbers in pivot.rows], columns=heads)
        tables += [f"## {metric_head(pivot.metric)}", *filter(None, [pivot.note]), _markdown(rows)]
    return ["\n".join(sentences), *tables, "## Jobs"] if sentences else []


def _reason(state: str, record: Mapping[str, Any]) -> str:
    error, reason = record.get("exception"), record.get("reason")
    reasons = {
        "failed": f"{error['type']}: {error['message']}".splitlines()[0] if error else "",
        "interrupted": reason or "its process was killed, or its machine went down",
        "partial": f"{reason}; {'not a result' if record.get('limits') else 'the same command measures the rest'}",
        "missing": "not started",
        "running": "locked by another process",
        "skipped": reason,
        DAMAGED: f"its {RUN} cannot be read; the same command does the job again",
    }
    return str(reasons.get(state, ""))


def _table(jobs: Sequence[Ended]) -> pd.DataFrame:
    """Table of jobs, with the numbers of a condition side by side."""
    table = pd.DataFrame([job.row() for job in jobs])
    metrics = dict.fromkeys(name for job in jobs for name in job.metrics)
    conditions = list(dict.fromkeys(name.rpartition("/")[0] for name in metrics))
    together = sorted(metrics, key=lambda name: conditions.index(name.rpartition("/")[0]))
    columns = [name for name in table if name not in metrics and name != "dir"]
    return table[[*columns, *together, "dir"]]


def _markdown(table: pd.DataFrame) -> str:
    head = f"| {' | '.join(map(str, table.columns))} |\n|{' --- |' * len(table.columns)}"
    return "\n".join([head, *(f"| {' | '.join(map(_cell, row))} |" for row in table.itertuples(index=False))])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
