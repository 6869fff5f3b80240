"""A sweep from its first look at the jobs to its closing table; Hydra calls it before the first job."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from dovision import identity
from dovision.errors import explain
from dovision.results import sweep_summary
from dovision.results.files import make_folder
from dovision.results.run_directory import DAMAGED, MISSING, RUN
from dovision.results.sweep_summary import Ended, ended, facts_of, state_of
from dovision.sweeps import jobs as planned
from dovision.sweeps.forecast import Forecaster, table, warn_of_space
from dovision.sweeps.jobs import Composed, Job
from dovision.sweeps.progress import Progress
from dovision.sweeps.worker import LAUNCHED

log = logging.getLogger(__name__)
STOP = ".stop"  # in the sweep's folder, once a job has failed under on_failure=stop
AGAIN = "rerun=unfinished"  # of a command that is launched again, after its launcher has failed
OPTIONS = ("rerun=", "on_failure=", "dry_run=")  # of a command, not of its jobs
EXTRAS = {
    "hydra_joblib_launcher": "launchers-joblib",
    "hydra_submitit_launcher": "launchers-submitit",
    "hydra_ray_launcher": "launchers-ray",
}
LOCAL = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
AT_WORK = 5.0  # seconds between looks at jobs that go on after their launcher has failed
_current: ContextVar[Sweep | None] = ContextVar("sweep", default=None)


def current() -> Sweep | None:
    """The sweep that this process has started; None if it runs a single job, or one of another process's sweep."""
    return _current.get()


def forget() -> None:
    """Begin a command, which has no sweep yet."""
    _current.set(None)


class Sweep:
    """The jobs of one command, and what has become of them."""

    def __init__(self, config: DictConfig, jobs: Sequence[Job] | None) -> None:
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.rerun: str | None = config.rerun
        self.directory = _configuration_directory(config)
        self._jobs = jobs
        make_folder(self.folder, setting="output_root")
        (self.folder / STOP).unlink(missing_ok=True)
        (self.folder / LAUNCHED).touch()
        self._progress = Progress(jobs or (), afresh=self.rerun == "all")
        self._progress.__enter__()

    @property
    def jobs(self) -> Sequence[Job]:
        """The jobs; of a sweeper that chooses them as it goes, all runs in the sweep's folder."""
        if self._jobs is not None:
            return self._jobs
        folders = sorted(path.parent for path in self.folder.glob(f"*/{RUN}"))
        overrides = [facts_of(folder).get("overrides", ()) for folder in folders]
        return [Job(*job) for job in zip(range(len(folders)), map(tuple, overrides), folders, strict=True)]

    def unfinished(self) -> int:
        """How many jobs neither are completed nor have failed, once none of them is at work any more."""
        while "running" in (states := [state_of(job.folder) for job in self.jobs]):
            time.sleep(AT_WORK)
        return sum(state in (MISSING, DAMAGED, "interrupted") for state in states)

    def is_done(self) -> bool:
        """Whether every job is completed already and is to be left so, and then a line in the log."""
        jobs = self._jobs or ()
        if self.rerun == "all" or not jobs or any(state_of(job.folder) != sweep_summary.GOOD for job in jobs):
            return False
        other = sum(facts_of(job.folder).get("code") != identity.code_hash() for job in jobs)
        by = f", {other} of them by other code (rerun=all does them again)" if other else ""
        log.info("all %d jobs are completed already%s; none is started", len(jobs), by)
        return True

    def close(self) -> bool:
        """Say what has become of the jobs, write it to the sweep's folder, and return whether all are completed.

        Raises:
            OSError: it could not be written.
        """
        self._progress.__exit__()
        found = [self._ended(job) for job in self.jobs]
        print(sweep_summary.closing(found), file=sys.stderr)
        if found:
            sweep_summary.write(self.folder, shlex.join(["dovision-evaluate", *sys.argv[1:]]), found)
            print(f"sweep: {self.folder / sweep_summary.NAME}.md", file=sys.stderr)
        return all(job.state == sweep_summary.GOOD for job in found)

    def _ended(self, job: Job) -> Ended:
        own = [override for override in job.overrides if not override.startswith(OPTIONS)]
        command = shlex.join(["dovision-evaluate", *self.directory, *own])
        return ended(job.number, own, job.folder, command)


class SweepStart(Callback):
    """Before the first job: compose and check all of them; on a dry run only tell of them."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        if config.dry_run:
            folder = Path(config.hydra.run.dir).absolute()
            overrides = tuple(config.hydra.overrides.task)
            _or_exit(_tell, config, [Composed(Job(0, overrides, folder), config)])
            sys.exit(0)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _or_exit(_start, config)


def _start(config: DictConfig) -> None:
    _check_launcher(config)
    _fix_folder(config)
    _limit_jobs(config)
    if current() is not None:  # launched again
        config.hydra.overrides.task.append(AGAIN)
        return
    overrides = planned.overrides_of_jobs(config)
    if overrides is None and config.dry_run:
        raise ValueError("dry_run needs Hydra's basic sweeper, since others choose their jobs as they go.")
    if overrides is None:
        _current.set(Sweep(config, None))
        return
    composed = planned.compose(config, overrides)
    if config.dry_run:
        _tell(config, composed)
        sys.exit(0)
    jobs = planned.checked(composed, lambda each: each.job)
    swept = Sweep(config, jobs)
    _current.set(swept)
    if swept.is_done():
        sys.exit(int(not swept.close()))
    warn_of_space(Path(config.output_root))


def _tell(config: DictConfig, composed: Iterable[Composed]) -> None:
    root = Path(config.output_root)
    forecasts = planned.checked(composed, Forecaster(root))
    print(table(forecasts))
    warn_of_space(root, forecasts)


def _or_exit(step: Any, *arguments: Any) -> None:
    """Hydra turns the exceptions of callbacks into warnings, and goes on; an exit it lets pass."""
    try:
        step(*arguments)
    except Exception as error:
        print(f"dovision-evaluate: {explain(error)}", file=sys.stderr)
        sys.exit(1)


def _check_launcher(config: DictConfig) -> None:
    target = config.hydra.launcher.get("_target_", "")
    for plugin, extra in EXTRAS.items():
        if f".{plugin}." in target and (find_spec("hydra_plugins") is None or not find_spec(f"hydra_plugins.{plugin}")):
            raise ValueError(f"this launcher needs an extra that is not installed: pip install 'dovision[{extra}]'.")


def _fix_folder(config: DictConfig) -> None:
    """Let workers that stand in a folder of their own, such as those of a cluster, write where the user stands."""
    folder = QuotedString(str(Path(config.hydra.sweep.dir).absolute()), Quote.single).with_quotes()
    config.hydra.overrides.hydra.append(f"hydra.sweep.dir={folder}")


def _limit_jobs(config: DictConfig) -> None:
    """Submitit's local launcher starts all jobs of a batch at once: let a batch be no more than there are cores."""
    if config.hydra.launcher.get("_target_") == LOCAL and config.hydra.sweeper.get("max_batch_size", 1) is None:
        cores = os.cpu_count() or 1
        log.info("at most %d jobs at once; for more or fewer: hydra.sweeper.max_batch_size=...", cores)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper.max_batch_size = cores


def _configuration_directory(config: DictConfig) -> list[str]:
    """The --config-dir of the command line, as it is to be given again."""
    sources = config.hydra.runtime.config_sources
    return [part for source in sources if source.provider == "command-line" for part in ("--config-dir", source.path)]
