"""Dry run of a sweep: its jobs, their fits and forward passes, and what is outdated; nothing is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dovision.config.settings import EvaluateSettings
from dovision.identity.plans import CLASSIFIER
from dovision.identity.shared import shared
from dovision.interfaces import Images
from dovision.jobs.jobs import Job
from dovision.jobs.run_status import run_status
from dovision.results.run_directory import RunDirectory
from dovision.training.data_module import check_fit
from dovision.types import CODE, INPUT


class JobCost(NamedTuple):
    """Fits and forward passes of a job; none if it is skipped."""

    job: Job
    state: str  # that of the run directory, or outdated (completed for other code, data or weights)
    fits: int = 0  # models that no job before it has fitted
    passes: int | None = 0  # forward passes of one image each for the effects, at most; None: known once it runs
    unlike: str = ""  # why a completed run is measured again, a line each
    is_due: bool = True  # false: it is skipped


class JobCosts:
    """Costs of jobs in order; a network that several jobs fit counts once."""

    def __init__(self) -> None:
        self._fitted: set[Path] = set()

    def __call__(self, job: Job, settings: EvaluateSettings) -> JobCost:
        plan, images, digests = shared().job(settings, job.folder)
        status = run_status(RunDirectory(job.folder), lambda: plan, settings.rerun, digests)
        if status.skip:
            return JobCost(job, status.state, is_due=False)
        files = {network.path for name, network in plan.network_keys.items() if name != CLASSIFIER or network.fits}
        missing = {path for path in files - self._fitted if not path.exists()}
        if missing:
            check_fit(images)
        self._fitted |= missing
        units = _units(settings, images)
        passes = None if units is None else len(plan.samples) * (1 + len(settings.attack.make().eps)) * (1 + units)
        return JobCost(job, status.state, len(missing), passes, status.unlike)


def _units(settings: EvaluateSettings, images: Images) -> int | None:
    """Number of units; None for a layer of a network that is not made here."""
    intervention = settings.intervention.make()
    intervention.bind(images, settings.evaluation.split)
    if intervention.site == INPUT:
        return len(intervention.units(images.shape))
    if intervention.site == CODE:
        return len(intervention.units((settings.code_of.make().code_channels,)))
    return None


def table(costs: Sequence[JobCost]) -> str:
    """Format the costs as lines, with their sum."""
    lines = ["  job  state        fits      passes  overrides"]
    for row in costs:
        passes = "?" if row.passes is None else f"{row.passes:,}"
        lines.append(f"{row.job.number:5}  {row.state:11}  {row.fits:4}  {passes:>10}  {row.job.name}")
    due = [row for row in costs if row.is_due]
    lines.append(
        f"{len(costs)} jobs, {len(due)} to do: {sum(row.fits for row in due)} models to fit, "
        f"{'at least' if any(row.passes is None for row in due) else 'at most'} "
        f"{sum(row.passes or 0 for row in due):,} forward passes for effects. Nothing was started."
    )
    return "\n".join(lines + [f"{row.job.number:5}  {line}" for row in costs for line in row.unlike.splitlines()])
