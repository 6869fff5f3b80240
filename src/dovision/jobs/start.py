"""Hydra's callbacks before a command's first job: all jobs are composed and checked; a dry run ends here."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from dovision.config.composition import refusal
from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings
from dovision.io.process_state import is_rank_zero
from dovision.jobs import jobs as planned
from dovision.jobs.command import Command, current, warn_of_unused
from dovision.jobs.job import Job, leave, plugin
from dovision.jobs.sweep import Sweep
from dovision.results.image_ranges import sorted_ranges
from dovision.results.run_record import DONE, Run

log = logging.getLogger(__name__)
MASK_FILES = "dovision.interventions.mask_files.MaskFiles"
AGAIN = "rerun=unfinished"  # of a command that is launched again, after its launcher has failed
PLUGINS = ("hydra_joblib_launcher", "hydra_submitit_launcher", "hydra_ray_launcher")


class Start(Callback):
    """Check the job of a command, or all jobs of its sweep, before anything is started or written."""

    def __init__(self, command: str) -> None:
        self._name = command  # alone: launchers send this object to their workers

    @property
    def command(self) -> Command:
        return current(self._name)

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        self._or_exit(self._run, config)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._or_exit(self._sweep, config)

    def _run(self, config: DictConfig) -> None:
        if params := planned.parameters(config):
            raise ValueError(
                f"hydra.sweeper.params needs a sweep, got a single job and {', '.join(params)}. Add -m, or write "
                "hydra.mode: MULTIRUN beside it."
            )
        job = self.command.job(config, config.hydra)
        self.command.jobs = {job.folder: job}
        self._check_job(job)
        warn_of_unused([job])

    def _check_job(self, job: Job) -> None:
        self.command.check(job)

    def _sweep(self, config: DictConfig) -> None:
        _check_plugins(config)
        planned.name_by_factors(config)
        planned.checked(config, planned.overrides_of_jobs(config), self.command, self.command.check)

    def _or_exit(self, step: Callable[[DictConfig], object], config: DictConfig) -> None:
        """Exit on an exception, which Hydra would turn into a warning in a callback."""
        try:
            step(config)
        except Exception as error:
            is_of_omegaconf = isinstance(error, OmegaConfBaseException)  # which may not know of which key it is
            text = refusal(error, self.command.name, sys.argv[1:]) if is_of_omegaconf else error_text(error)
            print(f"dovision-{self.command.name}: {text}", file=sys.stderr)
            sys.exit(1)


class SweepStart(Start):
    """Start of a command whose jobs have run directories: a dry run, or a new or resumed sweep."""

    def _check_job(self, job: Job) -> None:
        settings, run = job.settings, Run(job.folder)
        looks = not settings.dry_run and is_rank_zero()
        if looks and (reason := job.reason_to_skip(run)):
            leave(run, reason)
            warn_of_unused([job])
            sys.exit(0)
        self.command.check(job)
        if settings.dry_run:
            warn_of_unused([job])
            _print_plan([job])

    def _sweep(self, config: DictConfig) -> None:
        _check_plugins(config)
        folder = QuotedString(str(Path(config.hydra.sweep.dir).absolute()), Quote.single).with_quotes()
        planned.add_override(config, "hydra", f"hydra.sweep.dir={folder}")  # for workers in another working folder
        share_cores(config)
        planned.name_by_factors(config)
        if self.command.sweep is None:
            self._begin(config)
        else:  # launched again
            planned.add_override(config, "task", AGAIN)

    def _begin(self, config: DictConfig) -> None:
        """Compose and check the jobs, and begin the sweep; exit if there is nothing to do."""
        runs, reasons = dict[Path, Run](), list[str]()
        opened = set[str]()

        def check(job: Job, here: bool) -> None:
            if not config.dry_run:
                run = runs[job.folder] = Run(job.folder)
                reasons.append(job.reason_to_skip(run))
                if reasons[-1] == DONE:
                    run.remove_chunks()
                    return
            self.command.check(job, here)
            _check_data(job, opened)

        jobs = planned.checked(config, planned.overrides_of_jobs(config), self.command, check)
        if config.dry_run:
            _print_plan(jobs)
        _check_roots(jobs)
        words = {word.replace("\\", "").partition("=") for job in jobs for word in job.overrides}
        sorted_ranges(value for key, _, value in words if key == "evaluation.images" and ":" in value)
        is_done = {*reasons} == {DONE}
        self.command.sweep = Sweep(config, jobs, runs, is_done)
        if is_done:
            log.info("all %d jobs are completed already; none is started", len(jobs))
            sys.exit(int(not self.command.sweep.close()))


def _print_plan(jobs: Sequence[Job]) -> None:
    from dovision.jobs.dry_run import table  # with Lightning

    print(table(jobs))
    sys.exit(0)


def _check_data(job: Job, opened: set[str]) -> None:
    """Open the data and read the masks that jobs share, once, for errors of columns and files before the first job.

    `opened` has what was checked for other jobs.
    """
    settings: EvaluateSettings = job.settings
    root, evaluation = settings.dataset.get("root"), settings.evaluation
    has_masks = settings.intervention["_target_"] == MASK_FILES
    masks = [settings.intervention[key] for key in ("root", "files", "units", "missing")] if has_masks else []
    key = repr([dict(settings.dataset), masks, evaluation.split, evaluation.images, evaluation.only_with_boxes])
    if key in opened or not (Path(root).is_dir() if isinstance(root, str) else has_masks):
        return
    opened.add(key)
    from dovision.identity.samples import evaluated_samples
    from dovision.interventions.mask_files import check_units
    from dovision.measurement.by_name import one_component

    images = job.shared.images(settings.dataset)
    if has_masks:
        intervention = one_component("intervention", settings.intervention.make())
        intervention.bind(images, evaluation.split)
        check_units(intervention, images, evaluated_samples(evaluation, images))


def _check_roots(jobs: Sequence[Job]) -> None:
    """Raise for jobs with one run directory but different data."""
    by_folder: dict[Path, Job] = {}
    for job in jobs:
        other = by_folder.setdefault(job.folder, job)
        roots = [one.settings.dataset.get("root") for one in (other, job)]
        if roots[0] != roots[1]:
            raise ValueError(
                f"jobs {other.number} and {job.number} must not write to one run, got dataset.root={roots[0]} and "
                f"{roots[1]}, which is no part of a run's name. Write a command for each, with another name=..."
            )


def _check_plugins(config: DictConfig) -> None:
    target = config.hydra.launcher.get("_target_", "")
    for name in PLUGINS:
        if f".{name}." in target and not (find_spec("hydra_plugins") and find_spec(f"hydra_plugins.{name}")):
            raise ValueError(f"this launcher is not installed. Install it: pip install {name.replace('_', '-')}.")
    if plugin(config, "launcher") == planned.SLURM and not (config.get("dry_run") or shutil.which("srun")):
        raise ValueError(
            "hydra/launcher=submitit_slurm needs SLURM, got a machine without srun. Start the command on a cluster's "
            "login node, or choose hydra/launcher=submitit_local."
        )
    if plugin(config, "sweeper") != planned.BASIC_SWEEPER:
        raise ValueError(
            f"hydra/sweeper must be Hydra's basic one, got {plugin(config, 'sweeper')}: all jobs are checked before "
            "the first starts. Leave hydra/sweeper out, and name the values: -m KEY=A,B."
        )


def share_cores(config: DictConfig) -> None:
    """Limit a batch of submitit's local launcher, which starts all its jobs at once, to the cores, shared among them.

    Numbers that the user has set stay.
    """
    if plugin(config, "launcher") != planned.LOCAL:
        return
    cores = os.cpu_count() or 1
    if config.hydra.sweeper.get("max_batch_size", 1) is None:
        log.info("at most %d jobs at once; for more or fewer: hydra.sweeper.max_batch_size=...", cores)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper.max_batch_size = cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // config.hydra.sweeper.max_batch_size)))
