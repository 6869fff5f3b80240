"""Dry run of a sweep: its jobs, and about what they would take; nothing is started."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dovision.config import hashing
from dovision.config.component import Component, make_each
from dovision.config.keep import KEEP_ALL, KEEP_LABELS, KEEP_PREDICTED, KEEP_SUMMARY, KEEP_TOP
from dovision.config.settings import EvaluateSettings, EvaluationSettings, plain
from dovision.evaluation import callbacks
from dovision.evaluation.test_images import first_samples, shard_samples
from dovision.interfaces import Attack, Detector, Images, Intervention
from dovision.runtime.fingerprints import Fingerprints
from dovision.runtime.free_memory import available_memory
from dovision.store.effect_sums import SUMS_AT_ONCE
from dovision.store.provenance import peak_memory
from dovision.store.run_directory import DONE, RunDirectory
from dovision.sweeps.costs import Estimate, on_workers
from dovision.sweeps.jobs import Job
from dovision.sweeps.meta_networks import Networks
from dovision.sweeps.recorded_pace import RecordedPace, RecordedPaces, completed_records
from dovision.sweeps.reuse import decide
from dovision.sweeps.timing import Asked, Timer
from dovision.training import model_cache
from dovision.training.data_module import check_fit
from dovision.training.model_cache import CLASSIFIER
from dovision.types import CODE, INPUT

log = logging.getLogger(__name__)
COMPLETED = "completed"
RESUMED = ("interrupted", "partial", "failed", "damaged", "running")  # states of runs that go on from finished rows
ROW, SUM = 32, 6  # bytes of a row of effects.parquet and of effect_sums.parquet, about the most
LEAST = 2**30  # bytes that should be free in any case


class JobEstimate(NamedTuple):
    """One job, before it runs; None where it cannot be known."""

    job: Job
    state: str  # that of the run directory, or outdated (completed for other code, data or weights)
    fits: int  # models that no job before it has fitted
    passes: int | None  # forward passes of one image each for the effects, at most
    time: Estimate  # at most, where a run goes on that was stopped
    bytes: int | None
    memory: int | None  # bytes; the most that a run like it has taken, or the batches that were timed until then
    meanwhile: int = 0  # bytes of finished rows that lie beside the tables until the run is completed
    merged: int = 0  # bytes of its part of the run into which it is merged, if it is a shard
    scaled: RecordedPace | None = None  # the completed run by whose pace the time is estimated; None: by timed batches


class Extent(NamedTuple):
    """How large a job is."""

    samples: list[int]  # of the test images
    units: int | None
    classes: int
    groups: int  # patients, or images where no patients are known
    labels: float  # of an image, the mean


class JobEstimator:
    """Estimates jobs in their order; a dataset that jobs share is opened once, and work that is alike timed once.

    The memory is that of completed runs under the same output root with the same network, intervention and attack;
    where there are none, that of this process once it has timed a batch. The time is that of the completed run there
    which had the same configuration but for its name, seeds and the number of images, scaled by this number; where
    there is none, batches are timed.

    Args:
        output_root: where to look for them.
        threads: of torch, in a job that sets none; None: as many as torch takes.
    """

    def __init__(self, output_root: Path, threads: int | None = None) -> None:
        self._timer = Timer(threads)
        records = completed_records(output_root)
        self._recorded = RecordedPaces(records, threads)
        self._memory = _memory(records.values())
        self._prints = Fingerprints(output_root)
        self._meta = Networks()
        self._made: dict[str, Any] = {}  # datasets, interventions and attacks by their configuration
        self._extents: dict[str, Extent] = {}
        self._fitted: set[Path] = set()

    def __call__(self, job: Job, settings: EvaluateSettings) -> JobEstimate:
        decision = decide(RunDirectory(job.folder), settings, self._prints)
        if decision.skip == DONE:
            return JobEstimate(job, decision.state, 0, 0, Estimate(0.0, 0.0), 0, None)
        images: Images = self._part(settings, "dataset")
        intervention: Intervention = self._part(settings, "intervention")
        attack: Attack = self._part(settings, "attack")
        extent = self._extent(settings, images, intervention)
        networks = self._networks(settings, images, intervention)
        lacking = [name for name, path in networks.items() if not path.exists() and path not in self._fitted]
        if settings.foreign_checkpoint is not None or not settings.fits_classifier:
            lacking = [name for name in lacking if name != CLASSIFIER]
        if lacking:
            check_fit(images)
        self._fitted |= {networks[name] for name in lacking}
        scaled, blocks = self._recorded.like(settings), _blocks(settings, extent, attack)
        made = settings, images, intervention, attack, extent.samples, networks, lacking
        time = self._timer(Asked(*made, *blocks), scaled.pace if scaled is not None else None)
        memory = self._memory.get(hashing.work_hash(settings), peak_memory() * 2**20 if time.is_known else None)
        if extent.units is None:
            return JobEstimate(job, decision.state, len(lacking), None, time, None, memory, scaled=scaled)
        conditions = 1 + len(attack.eps)
        size = table_bytes(settings.evaluation, extent, conditions)
        meanwhile = table_bytes(settings.evaluation, extent._replace(groups=len(extent.samples)), conditions)
        merged = 0 if settings.evaluation.shard is None else size
        passes = len(extent.samples) * conditions * (1 + extent.units)
        return JobEstimate(job, decision.state, len(lacking), passes, time, size, memory, meanwhile, merged, scaled)

    def _networks(self, settings: EvaluateSettings, images: Images, intervention: Intervention) -> dict[str, Path]:
        detectors: dict[str, Detector] = self._part(settings, "detector")
        code = intervention.on_code or any(detector.reads_code for detector in detectors.values())
        return model_cache.checkpoint_paths(settings, images.fingerprint, callbacks.needed(settings, code))

    def _part(self, settings: EvaluateSettings, name: str) -> Any:
        own: Component | Mapping[str, Component] = getattr(settings, name)
        key = json.dumps([name, plain(own)])
        if key not in self._made:
            self._made[key] = own.make() if isinstance(own, Component) else make_each(own)
        return self._made[key]

    def _extent(self, settings: EvaluateSettings, images: Images, intervention: Intervention) -> Extent:
        parts = [plain(getattr(settings, name)) for name in ("dataset", "intervention")]
        own = settings.evaluation
        key = json.dumps([*parts, own.model_dump()])
        if key not in self._extents:
            if not images.labelled:
                images.take_classes(self._meta.plain(settings).task)
            units = _units(settings, images, intervention)
            samples = shard_samples(own, first_samples(images, own.split, own.images, own.only_with_boxes))
            self._extents[key] = _extent_of(images, own.split, list(samples), units)
        return self._extents[key]


def _extent_of(images: Images, split: str, samples: list[int], units: int | None) -> Extent:
    rows, source = images.order(split)[samples], images.source(split)
    present = (source.label[rows] == 1).sum(1) if images.task.multilabel else source.label[rows] >= 0
    groups = len(np.unique(source.group[rows].numpy()))
    return Extent(samples, units, len(images.task.classes), groups, float(present.double().mean()))


def table_bytes(settings: EvaluationSettings, extent: Extent, conditions: int) -> int:
    """Bytes of the tables of effects of a job, if no more classes are predicted than one in each condition.

    Args:
        settings: whose `keep` names the classes that have rows.
        extent: with a known number of units.
        conditions: how many there are.
    """
    assert extent.units is not None
    cells, classes = conditions * extent.units, extent.classes
    kept = {
        KEEP_ALL: float(classes),
        KEEP_PREDICTED: extent.labels + conditions,
        KEEP_LABELS: extent.labels,
        KEEP_TOP: float(settings.top_k * conditions),
        KEEP_SUMMARY: 0.0,
    }[settings.keep]
    rows = len(extent.samples) * cells * min(kept, classes)
    sums = 0 if settings.keep == KEEP_ALL else extent.groups * cells * classes
    return round(rows * ROW + sums * SUM)


def table(estimates: Sequence[JobEstimate], workers: int | None = 1) -> str:
    """The estimates as lines, with their sum.

    Args:
        estimates: of all jobs.
        workers: jobs that run at a time; None if that is not known.
    """
    gpu = max((each.time.gpu for each in estimates), default=0)
    lines = [
        f"  job  state        fits      passes    minutes       MB  MB of RAM  {'MB of GPU  ' * bool(gpu)}overrides"
    ]
    for each in estimates:
        numbers = [_number(each.passes), _minutes(each), _number(_megabytes(each.bytes), ".1f")]
        of_gpu = f"{_number(_megabytes(each.time.gpu or None), '.0f'):>9}  " if gpu else ""
        lines.append(
            f"{each.job.number:5}  {each.state:11}  {each.fits:4}  {numbers[0]:>10}  {numbers[1]:>9}  {numbers[2]:>7}  "
            f"{_number(_megabytes(each.memory), '.0f'):>9}  {of_gpu}{each.job.name}"
        )
    left = [each for each in estimates if each.state != COMPLETED]
    memory, merged = max((each.memory or 0 for each in estimates), default=0), sum(each.merged for each in left)
    lines.append(
        f"{len(estimates)} jobs, {len(left)} to do: {sum(each.fits for each in left)} models to fit, "
        f"at most {sum(each.passes or 0 for each in left):,} forward passes for effects, {_total(left, workers)}"
        f", {_megabytes(sum(each.bytes or 0 for each in estimates)):.0f} MB of effects"
        + (f" and {_megabytes(merged):.0f} in the run that is merged from shards" if merged else "")
        + (f", {_megabytes(memory):.0f} MB of memory" if memory else "")
        + (f", {_megabytes(gpu):.0f} MB of a GPU" if gpu else "")
        + ". Nothing was started."
    )
    scaled = Counter(each.scaled for each in left if each.scaled is not None)
    lines += [
        f"minutes of {count} jobs are scaled from {of.run}, of {of.images:,} images on {of.machine}"
        for of, count in scaled.items()
    ]
    lines += [f"not known of {count} jobs: {what}" for what, count in _unknown(left).items()]
    return "\n".join(lines)


def _total(left: Sequence[JobEstimate], workers: int | None) -> str:
    """The minutes of all jobs that are to be done."""
    bounds = [each.time.minutes for each in left], [each.time.most for each in left]
    known = "at least " if math.inf in bounds[1] else "about "
    if not any(each.time.is_known for each in left) and left:
        return "minutes unknown"
    merge = sum(each.time.merge for each in left)
    merging = f", of them {_time(merge)} to merge shards" if merge else ""
    if workers is None:
        minutes = _range([sum(bound) + merge for bound in bounds])
        return f"{known}{minutes} minutes of work for an unknown number of workers{merging}"
    shared = f" on {workers} workers" if workers > 1 else ""
    return f"{known}{_range([on_workers(bound, workers) + merge for bound in bounds])} minutes{shared}{merging}"


def _unknown(left: Sequence[JobEstimate]) -> Counter[str]:
    return Counter(what for each in left for what in each.time.unknown)


def _minutes(each: JobEstimate) -> str:
    """Of a job: "?" where nothing is known, "+" where there is no bound, "<=" where a part may be done already."""
    if not each.time.is_known:
        return "?"
    if math.isinf(each.time.most):
        return f"{_time(each.time.minutes)}+"
    if each.state in RESUMED:
        return f"<={_time(each.time.most)}"
    return _range([each.time.minutes, each.time.most], "-")


def _range(bounds: Sequence[float], between: str = " to ") -> str:
    return between.join(dict.fromkeys(_time(bound) for bound in bounds if math.isfinite(bound)))


def _time(minutes: float) -> str:
    """To a tenth of a minute, or, below one, to a hundredth; never zero for what takes time."""
    if 0 < minutes < 0.01:
        return "<0.01"
    return format(minutes, ".2f" if 0 < minutes < 1 else ".1f" if minutes else ".0f")


def warn_of_space(output_root: Path, estimates: Sequence[JobEstimate] = ()) -> None:
    """A line in the log where the disk or the memory may be too small for a sweep."""
    root = output_root.absolute()
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    meanwhile = max((each.meanwhile for each in estimates), default=0)
    needed = sum((each.bytes or 0) + each.merged for each in estimates) + meanwhile
    if needed > free:
        log.warning("the jobs may write %.1f GB, and %s has %.1f GB free.", needed / 1e9, root, free / 1e9)
    elif free < LEAST:
        log.warning("%s has %.1f GB free, which may be too little; dry_run=true estimates.", root, free / 1e9)
    memory, free_memory = max((each.memory or 0 for each in estimates), default=0), available_memory()
    if free_memory is not None and memory > free_memory:
        log.warning("a run like these took %.1f GB of memory, and %.1f GB are free.", memory / 1e9, free_memory / 1e9)


def _units(settings: EvaluateSettings, images: Images, intervention: Intervention) -> int | None:
    intervention.bind(images, settings.evaluation.split)
    if intervention.site == INPUT:
        return len(intervention.units(images.shape))
    if intervention.site == CODE:
        with torch.device("meta"):
            return len(intervention.units((settings.code_of.make().code_channels,)))
    return None  # a layer of a network that is not made here


def _blocks(settings: EvaluateSettings, extent: Extent, attack: Attack) -> tuple[int, int | None]:
    """Blocks of sums of effects that a job holds one after the other, and the run into which it is merged, if any."""
    shards, own = settings.evaluation.shards if settings.evaluation.shard is not None else None, 0
    if settings.evaluation.keep != KEEP_ALL and extent.units is not None:
        own = extent.groups * extent.units * extent.classes * (1 + len(attack.eps))
    blocks = [math.ceil(sums / SUMS_AT_ONCE) for sums in (own, own * (shards or 1))]
    return blocks[0], None if shards is None else blocks[1]


def _memory(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The most bytes that completed runs have taken, by what they were at work on."""
    most: dict[str, int] = {}
    for facts in records:
        if facts.get("work"):
            memory = facts.get("peak_memory_mb", 0) * 2**20
            most[facts["work"]] = max(memory, most.get(facts["work"], 0))
    return most


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _number(value: float | None, form: str = ",") -> str:
    return "?" if value is None else format(value, form)
