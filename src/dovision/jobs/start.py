"""Hydra's callbacks before a command's first job: all jobs are composed and checked; a dry run ends here."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dovision.config.composition import refusal
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings
from dovision.identity.shared import shared
from dovision.io.process_state import is_rank_zero
from dovision.jobs import jobs as planned
from dovision.jobs.jobs import Job
from dovision.jobs.sweep import Sweep, begin, current, current_launch
from dovision.jobs.validation import begin_checks
from dovision.results.image_ranges import sorted_ranges
from dovision.results.run_directory import DONE, RunDirectory

if TYPE_CHECKING:  # what imports Lightning is imported by the commands with run directories, not by dovision-report
    from dovision.jobs.dry_run import JobCost
    from dovision.jobs.run_status import RunStatus

log = logging.getLogger(__name__)
MASK_FILES = "dovision.interventions.mask_files.MaskFiles"
AGAIN = "rerun=unfinished"  # of a command that is launched again, after its launcher has failed
EXTRAS = {
    "hydra_joblib_launcher": "launchers-joblib",
    "hydra_submitit_launcher": "launchers-submitit",
    "hydra_ray_launcher": "launchers-ray",
    "hydra_optuna_sweeper": "optuna",
}


class Start(Callback):
    """Check the job of a command, or all jobs of its sweep, before anything is started or written."""

    def __init__(self, command: str) -> None:
        self.command = command

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        self._or_exit(self._run, config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._or_exit(self._sweep, config)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        current_launch().end(Path(config.hydra.sweep.dir).absolute())

    def _run(self, config: DictConfig) -> Any:
        _refuse_sweep(config)
        check = begin_checks(self.command)
        overrides = config.hydra.overrides.task
        settings = check.read(config, overrides, config.hydra.runtime.choices)
        is_left = self._is_left(config, settings)
        if not is_left:
            check.make(settings)
        check.note_unused(settings, config, overrides)
        check.warn()
        if is_left:
            sys.exit(0)
        return settings

    def _is_left(self, config: DictConfig, settings: Any) -> bool:
        """Return whether the job has nothing to do, before its components are made; a log line then says why."""
        return False

    def _sweep(self, config: DictConfig) -> None:
        _check_plugins(config)
        overrides = planned.overrides_of_jobs(config)
        if overrides is not None:
            self._checked(config, overrides, lambda job, settings, make: make())
        planned.name_by_factors(config)
        _begin_workers(config)

    def _checked(
        self, config: DictConfig, overrides: Sequence[Sequence[str]], plan: planned.PlanOf[planned.Planned]
    ) -> list[planned.Planned]:
        check = begin_checks(self.command)
        plans = planned.checked(config, overrides, check, plan)
        check.warn()
        return plans

    def _or_exit(self, step: Callable[[DictConfig], object], config: DictConfig) -> None:
        """Exit on an exception, which Hydra would turn into a warning in a callback."""
        try:
            step(config)
        except Exception as error:
            is_of_omegaconf = isinstance(error, OmegaConfBaseException)  # which may not know of which key it is
            text = refusal(error, self.command, sys.argv[1:]) if is_of_omegaconf else error_text(error)
            print(f"dovision-{self.command}: {text}", file=sys.stderr)
            sys.exit(1)


class SweepStart(Start):
    """Start of a command whose jobs have run directories: a dry run, or a new or resumed sweep."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Drop two copies of the configuration that Hydra keeps per job, some 2,000 objects for garbage collection."""
        if current() is not None:
            job_return.cfg = job_return.hydra_cfg = None

    def _run(self, config: DictConfig) -> Any:
        settings = super()._run(config)
        if settings.dry_run:
            from dovision.jobs.dry_run import JobCosts

            job = Job(0, tuple(config.hydra.overrides.task), Path(config.hydra.run.dir).absolute())
            _print_plan([JobCosts()(job, settings)])
        _check_batches(settings)
        return settings

    def _is_left(self, config: DictConfig, settings: EvaluateSettings) -> bool:
        if settings.dry_run or settings.print_config or not is_rank_zero():
            return False
        from dovision.jobs.run_status import is_left, job_status

        run = RunDirectory(Path(config.hydra.run.dir).absolute())
        return is_left(run, job_status(settings, run))

    def _sweep(self, config: DictConfig) -> None:
        _check_plugins(config)
        folder = QuotedString(str(Path(config.hydra.sweep.dir).absolute()), Quote.single).with_quotes()
        planned.add_override(config, "hydra", f"hydra.sweep.dir={folder}")  # for workers in another working folder
        _limit_jobs(config)
        share_cores(config)
        if current() is None:
            self._begin(config)
        else:  # launched again
            planned.add_override(config, "task", AGAIN)
        planned.name_by_factors(config)
        _begin_workers(config)

    def _begin(self, config: DictConfig) -> None:
        """Compose and check the jobs, and begin the sweep; exit if there is nothing to do."""
        overrides = planned.overrides_of_jobs(config)
        if overrides is None and config.dry_run:
            raise ValueError("dry_run needs Hydra's basic sweeper, since others choose their jobs as they go.")
        if overrides is None:
            begin(Sweep(config, None))
            return
        if config.dry_run:
            from dovision.jobs.dry_run import JobCosts

            cost = JobCosts()
            checked = self._checked(config, overrides, lambda job, settings, make: (make(), cost(job, settings)))
            _print_plan([costs for _, costs in checked])
        plans = self._checked(config, overrides, functools.partial(_plan, checked=set()))
        _check_roots(plans)
        words = {word.replace("\\", "").partition("=") for plan in plans for word in plan.job.overrides}
        sorted_ranges(value for key, _, value in words if key == "evaluation.images" and ":" in value)
        unlike = {plan.job.folder: plan.status.unlike for plan in plans}
        is_done = all(plan.status.skip == DONE for plan in plans)
        records = {plan.job.folder: plan.record for plan in plans}
        swept = Sweep(config, [plan.job for plan in plans], unlike, records, is_done)
        begin(swept)
        if is_done:
            log.info("all %d jobs are completed already; none is started", len(plans))
            sys.exit(int(not swept.close()))


class _Plan(NamedTuple):
    """Job with its status, and whether it is left to do."""

    job: Job
    status: RunStatus
    root: str | None  # of its data, in which runs do not differ
    record: Mapping[str, Any]  # of its configuration; empty of a completed run


def _plan(job: Job, settings: EvaluateSettings, make: planned.Thunk, checked: set[str]) -> _Plan:
    """Plan a job; `checked` has the data that were checked for others."""
    from dovision.jobs.run_status import job_status

    status = job_status(settings, RunDirectory(job.folder))
    if status.skip == DONE:
        RunDirectory(job.folder).remove_chunks()
        return _Plan(job, status, settings.dataset.get("root"), {})
    make()
    _check_data(settings, checked)
    _check_batches(settings)
    return _Plan(job, status, settings.dataset.get("root"), settings.record())


def _check_data(settings: EvaluateSettings, checked: set[str]) -> None:
    """Open the data and read the masks that jobs share, once, for errors of columns and files before the first job.

    `checked` has what was checked for other jobs.
    """
    root, evaluation = settings.dataset.get("root"), settings.evaluation
    has_masks = settings.intervention["_target_"] == MASK_FILES
    masks = [settings.intervention[key] for key in ("root", "files", "units", "missing")] if has_masks else []
    asked = repr([dict(settings.dataset), masks, evaluation.split, evaluation.images, evaluation.only_with_boxes])
    if asked in checked or not (Path(root).is_dir() if isinstance(root, str) else has_masks):
        return
    checked.add(asked)
    from dovision.identity.samples import evaluated_samples
    from dovision.measurement.test_images import check_units

    images = shared().images(settings.dataset)
    if has_masks:
        intervention = settings.intervention.make()
        intervention.bind(images, evaluation.split)
        check_units(intervention, images, evaluated_samples(evaluation, images))


def _check_batches(settings: EvaluateSettings) -> None:
    """Raise for more devices than batches; nothing without labels is opened."""
    from dovision.identity.samples import evaluated_samples
    from dovision.training.data_module import check_share

    devices, size = settings.trainer.get("devices"), settings.evaluation.batch_size
    if isinstance(devices, int) and devices > 1 and settings.has_labels:  # else not known before the trainer has looked
        images = len(evaluated_samples(settings.evaluation, shared().images(settings.dataset)))
        check_share(-(-images // size), size, devices)


def _check_roots(plans: Sequence[_Plan]) -> None:
    """Raise for jobs with one run directory but different data."""
    roots: dict[Path, _Plan] = {}
    for plan in plans:
        first = roots.setdefault(plan.job.folder, plan)
        if first.root != plan.root:
            raise ValueError(
                f"jobs {first.job.number} and {plan.job.number} must not write to one run, got dataset.root="
                f"{first.root} and {plan.root}, which is no part of a run's name. Write a command for each, with "
                "another name=..."
            )


def _print_plan(costs: Sequence[JobCost]) -> None:
    from dovision.jobs.dry_run import table

    print(table(costs))
    sys.exit(0)


def _refuse_sweep(config: DictConfig) -> None:
    """Raise for sweep parameters in a single job, where Hydra ignores them."""
    if params := planned.parameters(config):
        raise ValueError(
            f"hydra.sweeper.params needs a sweep, got a single job and {', '.join(params)}. Add -m, or write "
            "hydra.mode: MULTIRUN beside it."
        )


def _check_plugins(config: DictConfig) -> None:
    for role in ("launcher", "sweeper"):
        target = config.hydra[role].get("_target_", "")
        for plugin, extra in EXTRAS.items():
            if f".{plugin}." in target and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{plugin}")):
                raise ValueError(f"this {role} needs an extra that is not installed: pip install '.[{extra}]'.")
    if planned.plugin(config, "launcher") == planned.SLURM and not (config.get("dry_run") or shutil.which("srun")):
        raise ValueError(
            "hydra/launcher=submitit_slurm needs SLURM, got a machine without srun. Start the command on a cluster's "
            "login node, or choose hydra/launcher=submitit_local."
        )
    if planned.plugin(config, "sweeper") == "OptunaSweeper" and config.get("optimized_metric") is None:
        raise ValueError(
            "optimized_metric must name the number that Optuna raises, got null. Set optimized_metric=val_score "
            "(dovision-train) or optimized_metric=accuracy/clean (dovision-evaluate)."
        )


def _begin_workers(config: DictConfig) -> None:
    if planned.plugin(config, "launcher") != planned.BASIC:
        current_launch().begin(Path(config.hydra.sweep.dir).absolute())


def _limit_jobs(config: DictConfig) -> None:
    """Limit a batch of submitit's local launcher to the number of cores, since it starts all its jobs at once."""
    if planned.plugin(config, "launcher") == planned.LOCAL and config.hydra.sweeper.get("max_batch_size", 1) is None:
        cores = os.cpu_count() or 1
        log.info("at most %d jobs at once; for more or fewer: hydra.sweeper.max_batch_size=...", cores)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper.max_batch_size = cores


def share_cores(config: DictConfig) -> None:
    """Divide the cores among processes of submitit's local launcher, unless the user has, as joblib does."""
    if planned.plugin(config, "launcher") == planned.LOCAL:
        threads = max(1, (os.cpu_count() or 1) // config.hydra.sweeper.max_batch_size)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
