"""What a sweep would do, and about what it would take; nothing is started."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from dovision import identity, stages
from dovision.contracts import CODE, INPUT, Attack, Images, Intervention
from dovision.fingerprints import Fingerprints
from dovision.results.run_directory import RUN, RunDirectory
from dovision.results.sweep_summary import facts_of
from dovision.reuse import DONE, decide
from dovision.session import first_samples, make
from dovision.sweeps.jobs import Composed, Job

log = logging.getLogger(__name__)
ROW = 24  # bytes of a row of effects.parquet, at most
LEAST = 2**30  # bytes that should be free in any case


class Forecast(NamedTuple):
    """One job, before it runs; None where it cannot be known."""

    job: Job
    state: str  # done, outdated (done for other code, data or weights), or that of the run directory
    fits: int  # models that no job before it has fitted
    passes: int | None  # forward passes of one image each, at most
    minutes: float | None
    bytes: int | None
    memory: int | None  # bytes; the most that a run like it has taken


class Pace(NamedTuple):
    """What completed runs that were at work on the same have taken."""

    seconds: float  # a forward pass
    memory: int  # bytes, at their peak


class Extent(NamedTuple):
    """How large a job is."""

    images: int
    units: int | None
    classes: int


class Forecaster:
    """Forecasts jobs in their order; a dataset that jobs share is opened once.

    Minutes are those of completed runs under the same output root with the same network, intervention and attack.

    Args:
        output_root: where to look for them.
    """

    def __init__(self, output_root: Path) -> None:
        self._paces = _paces(output_root)
        self._prints = Fingerprints(output_root)
        self._made: dict[str, Any] = {}  # datasets, interventions and attacks by their configuration
        self._extents: dict[str, Extent] = {}
        self._fitted: set[Path] = set()

    def __call__(self, composed: Composed) -> Forecast:
        job, config = composed
        decision = decide(RunDirectory(job.folder), config, self._prints)
        if decision.skip == DONE:
            return Forecast(job, "done", 0, 0, 0.0, 0, None)
        images: Images = self._part(config, "dataset")
        intervention: Intervention = self._part(config, "intervention")
        attack: Attack = self._part(config, "attack")
        lacking = set(stages.missing(config, images, intervention.site == CODE)) - self._fitted
        self._fitted |= lacking
        extent = self._extent(config, images, intervention)
        pace = self._paces.get(identity.work_hash(config))
        memory = pace.memory if pace else None
        arms = 1 + len(attack.eps)
        if extent.units is None:
            return Forecast(job, decision.state, len(lacking), None, None, None, memory)
        passes = extent.images * arms * (1 + extent.units)
        minutes = passes * pace.seconds / 60 if pace else None
        rows = extent.images * arms * extent.units * extent.classes
        return Forecast(job, decision.state, len(lacking), passes, minutes, rows * ROW, memory)

    def _part(self, config: DictConfig, name: str) -> Any:
        key = json.dumps([name, identity.plain(config[name])])
        if key not in self._made:
            self._made[key] = make(config[name])
        return self._made[key]

    def _extent(self, config: DictConfig, images: Images, intervention: Intervention) -> Extent:
        parts = [identity.plain(config[name]) for name in ("dataset", "intervention")]
        key = json.dumps([*parts, config.evaluation.images, config.evaluation.boxed])
        if key not in self._extents:
            units = _units(config, images, intervention)
            samples = first_samples(config, "evaluation.images", images, "test", config.evaluation.boxed)
            self._extents[key] = Extent(len(samples), units, len(images.task.classes))
        return self._extents[key]


def table(forecasts: Sequence[Forecast]) -> str:
    """The forecasts as lines, with their sum."""
    lines = ["  job  state        fits      passes  minutes       MB  overrides"]
    for each in forecasts:
        numbers = [_number(each.passes), _number(each.minutes, ".1f"), _number(_megabytes(each.bytes), ".1f")]
        lines.append(
            f"{each.job.number:5}  {each.state:11}  {each.fits:4}  {numbers[0]:>10}  {numbers[1]:>7}  {numbers[2]:>7}  "
            f"{each.job.name}"
        )
    passes, minutes = sum(each.passes or 0 for each in forecasts), sum(each.minutes or 0 for each in forecasts)
    unknown = sum(each.minutes is None for each in forecasts)
    fits, left = sum(each.fits for each in forecasts), sum(each.state != "done" for each in forecasts)
    memory = max((each.memory or 0 for each in forecasts), default=0)
    lines.append(
        f"{len(forecasts)} jobs, {left} to do: {fits} models to fit, at most {passes:,} forward passes, "
        f"{minutes:.0f} minutes without fitting, maps and detection"
        + (f" (unknown for {unknown}, until a run like them is completed)" if unknown else "")
        + f", {_megabytes(sum(each.bytes or 0 for each in forecasts)):.0f} MB of effects"
        + (f", {_megabytes(memory):.0f} MB of memory by runs like them" if memory else "")
        + ". Nothing was started."
    )
    return "\n".join(lines)


def warn_of_space(output_root: Path, forecasts: Sequence[Forecast] = ()) -> None:
    """A line in the log where the disk or the memory may be too small for a sweep."""
    root = output_root.absolute()
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    needed = sum(each.bytes or 0 for each in forecasts)
    if needed > free:
        log.warning("the jobs may write %.1f GB, and %s has %.1f GB free.", needed / 1e9, root, free / 1e9)
    elif free < LEAST:
        log.warning("%s has %.1f GB free, which may be too little; dry_run=true estimates.", root, free / 1e9)
    memory, free_memory = max((each.memory or 0 for each in forecasts), default=0), _free_memory()
    if free_memory is not None and memory > free_memory:
        log.warning("a run like these took %.1f GB of memory, and %.1f GB are free.", memory / 1e9, free_memory / 1e9)


def _units(config: DictConfig, images: Images, intervention: Intervention) -> int | None:
    intervention.bind(images, "test")
    if intervention.site == INPUT:
        return len(intervention.units(images.shape))
    if intervention.site == CODE:
        return len(intervention.units((int(config.autoencoder.channels[config.autoencoder.code]),)))
    return None  # a layer of a network that is not made here


def _paces(root: Path) -> dict[str, Pace]:
    """The pace of completed runs, by what they were at work on: the last one's seconds, the most memory."""
    paces: dict[str, Pace] = {}
    for path in root.glob(f"*/*/{RUN}"):
        facts = facts_of(path.parent)
        if facts.get("state") == "completed" and facts.get("work") and facts.get("forward_passes"):
            memory = facts.get("peak_memory_mb", 0) * 2**20
            before = paces.get(facts["work"])
            seconds = facts["wall_seconds"] / facts["forward_passes"]
            paces[facts["work"]] = Pace(seconds, max(memory, before.memory if before else 0))
    return paces


def _free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _number(value: float | None, form: str = ",") -> str:
    return "?" if value is None else format(value, form)
