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
    """The sweep that this process has started; None if it runs a single job, or one of another process's sweep."""
    return _current.get()


def begin_command() -> Launch:
    """Begin a command, which has no sweep yet; marks its process and its workers as those of this command."""
    _current.set(None)
    launch = Launch()
    _command.set(launch)
    return launch


def begin(sweep: Sweep) -> None:
    """Make it the sweep that this process has started."""
    _current.set(sweep)


def job_name(folder: Path) -> str:
    """A job's overrides that differ from others of its sweep; in a worker its folder's name; of a single job nothing.

    Args:
        folder: its run directory.
    """
    if (swept := current()) is not None:
        return next((job.name for job in swept.jobs if job.folder == folder), folder.name)
    return "" if _command.get(None) else folder.name


@contextmanager
def launching() -> Iterator[None]:
    """A block in which Hydra is called; if workers do the jobs, signals are passed on to them. See `watch`."""
    with ExitStack() as stack:
        _launching.set(stack)
        yield


def watch(folder: Path) -> None:
    """Pass signals on to the workers that do the jobs of a sweep in a folder, until `launching` ends."""
    launch = _command.get()
    launch.begin(folder)
    if current() is None:
        _launching.get().callback(launch.end, folder)
    _launching.get().enter_context(Interruption(launch, folder))


class _Outdated(NamedTuple):
    """A completed run that does not stand for its job: when it was started, and why."""

    started: str | None
    reason: str


class Sweep:
    """The jobs of one command, and what has become of them.

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
        outdated = sum(self._is_outdated(job.folder) for job in self.jobs)
        return outdated + sum(state in (MISSING, DAMAGED, "interrupted") for state in states)

    def close(self) -> bool:
        """Say what has become of the jobs, write it to the sweep's folder, and return whether all are at their end.

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
        """Whether a run that was outdated when the sweep began has not been started since."""
        outdated = self._outdated.get(folder)
        return outdated is not None and facts_of(folder).get("started") == outdated.started


def merged_jobs(jobs: Sequence[Job]) -> list[Job]:
    """The runs into which shards among the jobs are merged, numbered behind them."""
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
    """The --config-dir of the command line, as it is to be given again."""
    sources = config.hydra.runtime.config_sources
    return [part for source in sources if source.provider == "command-line" for part in ("--config-dir", source.path)]
