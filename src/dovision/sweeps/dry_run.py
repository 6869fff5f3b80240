"""Dry run of a sweep: its jobs, and about what they would take; nothing is started."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from dovision.config.keep import KEEP_ALL, KEEP_LABELS, KEEP_PREDICTED, KEEP_SUMMARY, KEEP_TOP
from dovision.config.settings import EvaluateSettings, EvaluationSettings
from dovision.identity.plans import CLASSIFIER
from dovision.identity.shared import shared
from dovision.interfaces import Images, Intervention
from dovision.store.run_directory import DONE, RunDirectory
from dovision.sweeps.jobs import Job
from dovision.sweeps.meta_networks import meta_classifier
from dovision.sweeps.run_status import run_status
from dovision.sweeps.timing import BatchTimer, Estimate, JobTasks
from dovision.training.data_module import check_fit
from dovision.types import CODE, INPUT

log = logging.getLogger(__name__)
RESUMED = ("interrupted", "partial", "failed", "damaged", "running")  # states of runs that go on from finished rows
ROW, SUM = 32, 6  # bytes of a row of effects.parquet and of effect_sums.parquet, about the most
LEAST = 2**30  # bytes that should be free in any case


class JobEstimate(NamedTuple):
    """Estimate of one job; None where unknown."""

    job: Job
    state: str  # that of the run directory, or outdated (completed for other code, data or weights)
    fits: int = 0  # models that no job before it has fitted
    passes: int | None = 0  # forward passes of one image each for the effects, at most
    time: Estimate = Estimate(0.0)
    bytes: int | None = 0  # of tables of effects
    merged: int = 0  # bytes of its part of the run into which it is merged, if it is a shard
    unlike: str = ""  # why a completed run is measured again, a line each


class JobEstimator:
    """Estimator of jobs in order; a shared dataset is opened once, and a shared task timed once."""

    def __init__(self, threads: int | None = None) -> None:
        self._timer = BatchTimer(threads)
        self._fitted: set[Path] = set()

    def __call__(self, job: Job, settings: EvaluateSettings) -> JobEstimate:
        evaluation, (plan, images, digests) = settings.evaluation, shared().job(settings, job.folder)
        status = run_status(RunDirectory(job.folder), lambda: plan, settings.rerun, digests)
        if status.skip == DONE:
            return JobEstimate(job, status.state)
        intervention, attack = settings.intervention.make(), settings.attack.make()
        if not images.labelled:
            images.take_classes(meta_classifier(settings).task)
        units = _units(settings, images, intervention)
        samples, files = list(plan.samples), {name: network.path for name, network in plan.network_keys.items()}
        missing = [name for name, path in files.items() if not path.exists() and path not in self._fitted]
        missing = [name for name in missing if name != CLASSIFIER or plan.network_keys[name].fits]
        if missing:
            check_fit(images)
        self._fitted |= {files[name] for name in missing}
        time = self._timer(JobTasks(settings, images, intervention, attack, samples, units, files, missing))
        if units is None:
            return JobEstimate(job, status.state, len(missing), None, time, None, unlike=status.unlike)
        conditions = 1 + len(attack.eps)
        size = table_bytes(evaluation, images, samples, conditions, units)
        passes = len(samples) * conditions * (1 + units)
        merged = 0 if evaluation.shard is None else size
        return JobEstimate(job, status.state, len(missing), passes, time, size, merged, status.unlike)


def _units(settings: EvaluateSettings, images: Images, intervention: Intervention) -> int | None:
    intervention.bind(images, settings.evaluation.split)
    if intervention.site == INPUT:
        return len(intervention.units(images.shape))
    if intervention.site == CODE:
        with torch.device("meta"):
            return len(intervention.units((settings.code_of.make().code_channels,)))
    return None  # a layer of a network that is not made here


def table_bytes(
    settings: EvaluationSettings, images: Images, samples: Sequence[int], conditions: int, units: int
) -> int:
    """Bytes of the effect tables of some samples, assuming one predicted class per condition."""
    rows, source = images.order(settings.split)[samples], images.source(settings.split)
    classes = len(images.task.classes)
    labels = (source.label[rows] == 1).sum(1) if images.task.multilabel else source.label[rows] >= 0
    labelled = float(labels.double().mean())  # labels of an image
    kept = {
        KEEP_ALL: float(classes),
        KEEP_PREDICTED: labelled + conditions,
        KEEP_LABELS: labelled,
        KEEP_TOP: float(settings.top_k * conditions),
        KEEP_SUMMARY: 0.0,
    }[settings.keep]
    sums = 0 if settings.keep == KEEP_ALL else len(set(source.group[rows].tolist())) * classes
    return round((len(samples) * min(kept, classes) * ROW + sums * SUM) * conditions * units)


def table(estimates: Sequence[JobEstimate], workers: int | None = 1) -> str:
    """Format the estimates as lines, with their sum.

    `workers` jobs run at a time; None: that is not known.
    """
    lines = ["  job  state        fits      passes    minutes       MB  overrides"]
    for row in estimates:
        passes = "?" if row.passes is None else f"{row.passes:,}"
        size = "?" if row.bytes is None else f"{row.bytes / 1e6:.1f}"
        time = _minutes(row.time, row.state in RESUMED)
        lines.append(
            f"{row.job.number:5}  {row.state:11}  {row.fits:4}  {passes:>10}  {time:>9}  {size:>7}  {row.job.name}"
        )
    left = [row for row in estimates if row.state != "completed"]
    merged, reasons = sum(row.merged for row in left), Counter(reason for row in left for reason in row.time.unknown)
    lines.append(
        f"{len(estimates)} jobs, {len(left)} to do: {sum(row.fits for row in left)} models to fit, "
        f"at most {sum(row.passes or 0 for row in left):,} forward passes for effects, {_total(left, workers)}, "
        f"{sum(row.bytes or 0 for row in estimates) / 1e6:.0f} MB of effects"
        + (f" and {merged / 1e6:.0f} in the run that is merged from shards" if merged else "")
        + ". Nothing was started."
    )
    lines += [f"{row.job.number:5}  {difference}" for row in estimates for difference in row.unlike.splitlines()]
    return "\n".join(lines + [f"not known of {count} jobs: {reason}" for reason, count in reasons.items()])


def _total(left: Sequence[JobEstimate], workers: int | None) -> str:
    minutes, unknown = [row.time.minutes for row in left], any(row.time.unknown for row in left)
    if unknown and not any(minutes):
        return "minutes unknown"
    total = sum(minutes) if workers is None else max([sum(minutes) / workers, *minutes], default=0.0)
    shared = (
        " of work for an unknown number of workers" if workers is None else f" on {workers} workers" * (workers > 1)
    )
    return f"{'at least' if unknown else 'about'} {_minutes(Estimate(total))} minutes{shared}"


def _minutes(time: Estimate, resumed: bool = False) -> str:
    """Format minutes: never zero for work; "+" if more may come, "<=" if some may be done."""
    if not time.minutes:
        return "?" if time.unknown else "0"
    number = "<0.01" if time.minutes < 0.01 else format(time.minutes, ".2f" if time.minutes < 1 else ".1f")
    return f"{number}+" if time.unknown else f"<={number}" if resumed else number


def warn_of_space(output_root: Path, estimates: Sequence[JobEstimate] = ()) -> None:
    """Warn if the disk may be too small for a sweep."""
    root = output_root.absolute()
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    sizes = [row.bytes or 0 for row in estimates]  # while a job runs, its finished rows lie beside its tables
    needed = sum(sizes) + max(sizes, default=0) + sum(row.merged for row in estimates)
    if needed > free:
        log.warning("the jobs may write %.1f GB, and %s has %.1f GB free.", needed / 1e9, root, free / 1e9)
    elif free < LEAST:
        log.warning("%s has %.1f GB free, which may be too little; dry_run=true estimates.", root, free / 1e9)
