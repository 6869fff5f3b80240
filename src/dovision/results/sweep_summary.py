"""The jobs of a sweep gathered in one table, from their run directories alone; and the same over seeds."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from dovision.identity.differences import mixed
from dovision.io.atomic import replacing
from dovision.results.image_ranges import join_ranges
from dovision.results.run_files import RUN
from dovision.results.run_record import DAMAGED, Run, read_config
from dovision.results.schemas import METRICS, read_summary
from dovision.results.summary import label_counts
from dovision.results.sweep_findings import by_factors, sweep_findings

SWEEP_SUMMARY, OVER_SEEDS = "sweep_summary.csv", "sweep_seeds.csv"  # in the sweep's folder
GOOD, PROGRAM = "completed", "dovision-evaluate"


def look_at(folder: Path) -> Run:
    """A run as it is now; `Run.look`, "damaged" also if it cannot be read."""
    try:
        return Run(folder).look()
    except OSError:
        return Run(folder, state=DAMAGED)


def ended(number: int, overrides: Sequence[str], folder: Path, config: Mapping[str, Any] = MappingProxyType({})) -> Run:
    """Read a job of a sweep at its end: its label is the number, its overrides are those of the sweep.

    Args:
        config: of a job that has not started, and has left none.
    """
    run = look_at(folder)
    state, summary = run.state, dict[str, Any]()
    problem = _reason(state, run.record)
    try:
        if state == GOOD:
            summary = read_summary(folder)
    except (ValueError, OSError) as error:
        state, problem = DAMAGED, str(error)
    record = {**run.record, "overrides": [*overrides]}
    return Run(folder, str(number), state, record, read_config(folder) or config, summary, problem)


def metrics_of(job: Run) -> dict[str, float]:
    """Headline numbers of a job, by condition and metric, such as "clean/accuracy"; empty unless it is completed."""
    return {
        f"{condition}/{metric}": numbers[metric]["estimate"]
        for condition, numbers in job.summary.get("conditions", {}).items()
        for metric in METRICS
        if numbers.get(metric) is not None
    }


def write_sweep_summary(folder: Path, jobs: Sequence[Run]) -> None:
    """Write sweep_summary.csv, and, where there are several seeds of a setting, sweep_seeds.csv."""
    rows = join_ranges(jobs)
    frame = _factors(rows)
    table, seeds = _table(rows), frame.query("seeds > 1 and mean.notna()") if len(frame) else frame
    seeds = seeds.drop(columns=["low", "high", "run"], errors="ignore")
    (folder / OVER_SEEDS).unlink(missing_ok=True)
    for name, rows in ((SWEEP_SUMMARY, table), (OVER_SEEDS, seeds)):
        if len(rows):
            with replacing(folder / name) as partial:
                rows.to_csv(partial, index=False)


def closing(jobs: Sequence[Run], program: str = PROGRAM) -> str:
    """Closing message of a command: job counts by state, mixed origins, and how to complete each job."""
    states = Counter(job.state for job in jobs)
    lines = [f"{len(jobs)} jobs: {', '.join(f'{count} {state}' for state, count in states.items())}."]
    lines += mixed({f"job {job.label}": job.record for job in jobs if job.state == GOOD})
    for job in jobs:
        if job.state != GOOD:
            lines += [
                f"  job {job.label} {job.state}: {job.failure}",
                f"    {program} {shlex.join(job.overrides)}".rstrip(),
            ]
    return "\n".join(lines)


def slow_jobs(jobs: Sequence[Run]) -> dict[str, str]:
    """How long jobs took that took over twice the median of three or more jobs with about as many passes, by label.

    The first job of each fitted network is left out: it may have fitted it.
    """
    done = sorted((job for job in jobs if job.summary), key=lambda job: str(job.record.get("started")))
    fits, names = [str(job.record.get("checkpoints")) for job in done], ["forward_passes", "wall_seconds"]
    rows = pd.DataFrame([job.record for job in done], [job.label for job in done]).reindex(columns=names).astype(float)
    rows = rows[pd.Series(fits, rows.index).duplicated() & (rows > 0).all(axis=1)]
    like = rows["wall_seconds"].groupby(np.log2(rows["forward_passes"]).round())
    ratios = rows["wall_seconds"] / like.transform("median")
    ratios = ratios[(ratios > 2) & (like.transform("size") > 2)]
    return {str(label): f"slow: {ratio:.1f} times the median of like jobs" for label, ratio in ratios.items()}


def findings(jobs: Sequence[Run]) -> list[str]:
    """Sentences on a sweep's completed jobs by factor."""
    return [one.text for one in sweep_findings(_factors(jobs))]


def _factors(jobs: Sequence[Run]) -> pd.DataFrame:
    """Headline numbers of completed jobs by factor; empty if no run can be read."""
    return by_factors([job for job in jobs if job.summary])


def _reason(state: str, record: Mapping[str, Any]) -> str:
    reason = record.get("reason")
    reasons = {
        "interrupted": reason or "its process was killed, or its machine went down",
        "partial": f"{reason}; {'not a result' if record.get('limits') else 'the same command measures the rest'}",
        "missing": "not started",
        "running": "locked by another process",
        DAMAGED: f"its {RUN} cannot be read; the same command does the job again",
    }
    return str(reasons.get(state, ""))


def _table(jobs: Sequence[Run]) -> pd.DataFrame:
    """Table of jobs, with the numbers of a condition side by side."""
    rows = []
    for job in jobs:
        columns: dict[str, Any] = {"job": job.label, "overrides": " ".join(job.overrides), "state": job.state}
        columns["seconds"] = job.record.get("wall_seconds")
        if tags := job.record.get("tags"):
            columns["tags"] = " ".join(tags)
        rows.append({**columns, "reason": job.failure, "images": label_counts(job.summary.get("labels", {}))})
    numbers = pd.DataFrame([metrics_of(job) for job in jobs])
    conditions = list(dict.fromkeys(name.rpartition("/")[0] for name in numbers))
    together = sorted(numbers, key=lambda name: conditions.index(name.rpartition("/")[0]))
    return pd.DataFrame(rows).join(numbers[together]).assign(dir=[str(job.folder) for job in jobs])
