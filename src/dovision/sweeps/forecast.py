"""What a sweep would do, and about what it would take; nothing is started."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from dovision import identity, stages
from dovision.contracts import CODE, INPUT, Attack, Images, Intervention
from dovision.results.files import read_json
from dovision.results.run_directory import RUN, RunDirectory
from dovision.session import make
from dovision.sweeps.jobs import Composed, Job

log = logging.getLogger(__name__)
ROW = 24  # bytes of a row of effects.parquet, at most
LEAST = 2**30  # bytes that should be free in any case


class Forecast(NamedTuple):
    """One job, before it runs; None where it cannot be known."""

    job: Job
    state: str  # done, or that of the run directory
    fits: int  # models that no job before it has fitted
    passes: int | None  # forward passes of one image each, at most
    minutes: float | None
    bytes: int | None


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
        self._speeds = _speeds(output_root)
        self._images: dict[str, Images] = {}
        self._extents: dict[str, Extent] = {}
        self._fitted: set[Path] = set()

    def __call__(self, composed: Composed) -> Forecast:
        job, config = composed
        state = RunDirectory(job.folder).state
        if state == "completed":
            return Forecast(job, "done", 0, 0, 0.0, 0)
        images = self._opened(config)
        intervention: Intervention = make(config.intervention)
        attack: Attack = make(config.attack)
        lacking = set(stages.missing(config, images, intervention.site == CODE)) - self._fitted
        self._fitted |= lacking
        extent = self._extent(config, images, intervention)
        arms = 1 + len(attack.eps)
        if extent.units is None:
            return Forecast(job, state, len(lacking), None, None, None)
        passes = extent.images * arms * (1 + extent.units)
        speed = self._speeds.get(identity.work_hash(config))
        rows = extent.images * arms * extent.units * extent.classes
        return Forecast(job, state, len(lacking), passes, None if speed is None else passes * speed / 60, rows * ROW)

    def _opened(self, config: DictConfig) -> Images:
        key = json.dumps(identity.plain(config.dataset))
        if key not in self._images:
            self._images[key] = make(config.dataset)
        return self._images[key]

    def _extent(self, config: DictConfig, images: Images, intervention: Intervention) -> Extent:
        parts = [identity.plain(config[name]) for name in ("dataset", "intervention")]
        key = json.dumps([*parts, config.evaluation.images, config.evaluation.boxed])
        if key not in self._extents:
            units = _units(config, images, intervention)
            self._extents[key] = Extent(_count(config, images), units, len(images.task.classes))
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
    lines.append(
        f"{len(forecasts)} jobs, {left} to do: {fits} models to fit, at most {passes:,} forward passes, "
        f"{minutes:.0f} minutes without fitting, maps and detection"
        + (f" (unknown for {unknown}, until a run like them is completed)" if unknown else "")
        + f", {_megabytes(sum(each.bytes or 0 for each in forecasts)):.0f} MB of effects. Nothing was started."
    )
    return "\n".join(lines)


def warn_of_space(output_root: Path) -> None:
    """A line in the log where the disk may be too small for a sweep."""
    root = output_root.absolute()
    free = shutil.disk_usage(next(folder for folder in (root, *root.parents) if folder.exists())).free
    if free < LEAST:
        log.warning("%s has %.1f GB free, which may be too little; dry_run=true estimates.", root, free / 1e9)


def _count(config: DictConfig, images: Images) -> int:
    if config.evaluation.boxed:
        boxes = images.boxes("test")
        count = boxes["sample"][boxes["label"].notna()].nunique()
    else:
        count = len(images.split("test"))  # type: ignore[arg-type]
    limit = config.evaluation.images
    return count if limit is None else min(limit, count)


def _units(config: DictConfig, images: Images, intervention: Intervention) -> int | None:
    intervention.bind(images, "test")
    if intervention.site == INPUT:
        return len(intervention.units(images.shape))
    if intervention.site == CODE:
        return int(config.autoencoder.channels[config.autoencoder.code])
    return None  # a layer of a network that is not made here


def _speeds(root: Path) -> dict[str, float]:
    """Seconds a forward pass in completed runs, by what they were at work on."""
    speeds = {}
    for path in root.glob(f"*/*/{RUN}"):
        facts: Mapping[str, Any] = read_json(path)
        if facts.get("state") == "completed" and facts.get("work") and facts.get("forward_passes"):
            speeds[facts["work"]] = facts["wall_seconds"] / facts["forward_passes"]
    return speeds


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _number(value: float | None, form: str = ",") -> str:
    return "?" if value is None else format(value, form)
