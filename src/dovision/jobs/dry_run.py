"""Dry run of a sweep: its jobs, their fits and forward passes, and what is outdated; nothing is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dovision.config.settings import EvaluateSettings
from dovision.identity.dependencies import CLASSIFIER
from dovision.interfaces import Images
from dovision.interventions.object_cells import object_cells
from dovision.jobs.job import Job
from dovision.measurement.by_name import one_component
from dovision.results.run_record import Run
from dovision.training.data_module import check_fit
from dovision.types import CODE, INPUT


def table(jobs: Sequence[Job]) -> str:
    """Lines with the state of each job, its fits and forward passes at most, and with their sums.

    A network that several jobs fit counts once. The passes are of one image each, for the effects alone.
    """
    lines, unlike = ["  job  state        fits      passes  overrides"], list[str]()
    fitted, passes = set[Path](), list[int | None]()
    for job in jobs:
        settings: EvaluateSettings = job.settings
        run = Run(job.folder)
        if job.reason_to_skip(run):
            lines.append(_line(job, run.state, 0, 0))
            continue
        job = job.identified()
        files = {key.path for name, key in job.networks.items() if name != CLASSIFIER or key.fits}
        missing = {path for path in files - fitted if not path.exists()}
        if missing:
            check_fit(job.images)
        units = _units(settings, job.images)
        conditions = 1 + len(one_component("attack", settings.attack.make()).eps)
        passes.append(None if units is None else len(job.samples) * conditions * (1 + units))
        lines.append(_line(job, run.state, len(missing), passes[-1]))
        unlike += [f"{job.number:5}  {line}" for line in run.problem.splitlines()]
        fitted |= missing
    total = f"{'at least' if None in passes else 'at most'} {sum(filter(None, passes)):,}"
    lines.append(
        f"{len(jobs)} jobs, {len(passes)} to do: {len(fitted)} models to fit, {total} forward passes for effects. "
        "Nothing was started."
    )
    return "\n".join(lines + unlike)


def _line(job: Job, state: str, fits: int, passes: int | None) -> str:
    count = "?" if passes is None else f"{passes:,}"
    return f"{job.number:5}  {state:11}  {fits:4}  {count:>10}  {job.name}"


def _units(settings: EvaluateSettings, images: Images) -> int | None:
    """Number of units and sets over objects; None for a layer of a network that is not made here."""
    intervention = one_component("intervention", settings.intervention.make())
    intervention.bind(images, settings.evaluation.split)
    if intervention.site == INPUT:
        joint = object_cells(intervention, images, settings.evaluation.split)
        return len(intervention.units(images.shape)) + (1 + len(joint.units(images.shape)) if joint else 0)
    if intervention.site == CODE:
        return len(intervention.units((settings.code_of.make().code_channels,)))
    return None
