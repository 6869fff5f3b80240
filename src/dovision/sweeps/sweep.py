"""A sweep from its first job to its closing table."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from omegaconf import DictConfig

from dovision.findings import sweep_summary
from dovision.findings.sweep_summary import Ended, ended, facts_of, state_of
from dovision.io.text_files import make_folder
from dovision.store.job_shards import SHARD_KEY, is_shard, merged_folder
from dovision.store.run_directory import DAMAGED, MISSING, OUTDATED
from dovision.store.run_files import RUN
from dovision.sweeps.closing import closing_of
from dovision.sweeps.interruption import Interruption
from dovision.sweeps.jobs import Job
from dovision.sweeps.launch import Launch
from dovision.sweeps.progress import Progress

log = logging.getLogger(__name__)
OPTIONS = ("rerun=", "on_failure=", "dry_run=")  # of a command, not of its jobs
AT_WORK = 5.0  # seconds between looks at jobs that go on after their launcher has failed
_current: ContextVar[Sweep | None] = ContextVar("sweep", default=None)
_command: ContextVar[Launch] = ContextVar("command")
_launching: ContextVar[ExitStack] = ContextVar("launching")


def current() -> Sweep | None:
    """Sweep started by this process; None for a single job, or in a worker."""
    return _current.get()


def begin_command() -> Launch:
    """Begin a command without a sweep; mark this process and its workers as part of it."""
    _current.set(None)
    launch = Launch()
    _command.set(launch)
    return launch


def begin(sweep: Sweep) -> None:
    """Make it the sweep that this process has started."""
    _current.set(sweep)


def job_name(folder: Path) -> str:
    """Overrides that distinguish a job in its sweep; the folder's name in a worker; empty for a single job.

    Args:
        folder: its run directory.
    """
    if (swept := current()) is not None:
        return next((job.name for job in swept.jobs if job.folder == folder), folder.name)
    return "" if _command.get(None) else folder.name


@contextmanager
def launching() -> Iterator[None]:
    """Context of Hydra's call; signals are passed on to workers, if any. See `watch`."""
    with ExitStack() as stack:
        _launching.set(stack)
        yield


def watch(folder: Path) -> None:
    """Pass signals on to a sweep's workers until `launching` ends."""
    launch = _command.get()
    launch.begin(folder)
    if current() is None:
        _launching.get().callback(launch.end, folder)
    _launching.get().enter_context(Interruption(launch, folder))


class _Outdated(NamedTuple):
    """Completed run that does not match its job: its start time, and the difference."""

    started: str | None
    reason: str


class Sweep:
    """Jobs of one command, and their results.

    Args:
        config: of the sweep.
        jobs: None if they are chosen as the sweep goes.
        outdated: by run directory, in what a completed run differs from the one that is asked for; empty if in nothing.
        records: by run directory, the configurations of jobs, of which one that is never started leaves none.
    """

    def __init__(
        self,
        config: DictConfig,
        jobs: Sequence[Job] | None,
        outdated: Mapping[Path, str] = MappingProxyType({}),
        records: Mapping[Path, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.rerun: str | None = config.rerun
        self.directory = _configuration_directory(config)
        self._jobs = jobs
        self._records = records
        self._outdated = {
            folder: _Outdated(facts_of(folder).get("started"), unlike) for folder, unlike in outdated.items() if unlike
        }
        self.launch = _command.get()
        make_folder(self.folder, setting="output_root")
        self.launch.begin(self.folder)
        again = {job.folder for job in jobs or () if self.rerun == "all" or job.folder in self._outdated}
        self._progress = Progress(jobs or (), again)
        self._progress.__enter__()

    @property
    def jobs(self) -> Sequence[Job]:
        """The jobs; with an adaptive sweeper, all runs in the sweep's folder."""
        if self._jobs is not None:
            return self._jobs
        folders = sorted(path.parent for path in self.folder.glob(f"*/{RUN}"))
        overrides = [facts_of(folder).get("overrides", ()) for folder in folders]
        return [Job(*job) for job in zip(range(len(folders)), map(tuple, overrides), folders, strict=True)]

    def unfinished(self) -> int:
        """Number of jobs neither completed nor failed, after waiting for running ones."""
        while "running" in (states := [state_of(job.folder) for job in self.jobs]):
            time.sleep(AT_WORK)
        outdated = sum(self._is_outdated(job.folder) for job in self.jobs)
        return outdated + sum(state in (MISSING, DAMAGED, "interrupted") for state in states)

    def close(self) -> bool:
        """Print the results of the jobs, write the summary, and return whether all jobs are done.

        That is completed, or partial by limits of the trainer that they were asked to keep.

        Raises:
            OSError: it could not be written.
        """
        self._progress.__exit__()
        self.launch.end(self.folder)
        jobs = self.jobs
        ends = [self._ended(job) for job in [*jobs, *merged_jobs(jobs)]]
        closing = closing_of(ends, self.folder / f"{sweep_summary.SWEEP_SUMMARY}.md")
        closing.print()
        if ends:
            sweep_summary.write_sweep_summary(self.folder, shlex.join(["dovision-evaluate", *sys.argv[1:]]), ends)
            closing.print_files()
        return all(job.state == sweep_summary.GOOD or job.record.get("limits") for job in ends)

    def _ended(self, job: Job) -> Ended:
        overrides = [override for override in job.overrides if not override.startswith(OPTIONS)]
        command = shlex.join(["dovision-evaluate", *self.directory, *overrides])
        end = ended(job.number, overrides, job.folder, command)
        end = end._replace(config=end.config or self._records.get(job.folder, {}))
        if self._is_outdated(job.folder):
            return end._replace(state=OUTDATED, reason=self._outdated[job.folder].reason, metrics={})
        return end

    def _is_outdated(self, folder: Path) -> bool:
        """Return whether a run outdated at the sweep's start has not been restarted."""
        outdated = self._outdated.get(folder)
        return outdated is not None and facts_of(folder).get("started") == outdated.started


def merged_jobs(jobs: Sequence[Job]) -> list[Job]:
    """Runs that shards among the jobs are merged into, numbered after the jobs."""
    first = {merged_folder(job.folder): job for job in reversed(jobs) if is_shard(job.folder)}
    return [
        Job(
            len(jobs) + number,
            tuple(override for override in job.overrides if not override.startswith(SHARD_KEY)),
            folder,
        )
        for number, (folder, job) in enumerate(reversed(first.items()))
    ]


def _configuration_directory(config: DictConfig) -> list[str]:
    """Words --config-dir and its folder, to repeat the command."""
    sources = config.hydra.runtime.config_sources
    return [word for source in sources if source.provider == "command-line" for word in ("--config-dir", source.path)]
