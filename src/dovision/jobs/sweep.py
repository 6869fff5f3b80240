"""A sweep from its first job to its closing table, and its progress, the same for every launcher."""

from __future__ import annotations

import itertools
import logging
import shlex
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType

from omegaconf import DictConfig

from dovision.io.progress import DISPLAY
from dovision.io.text_files import make_folder, read_json
from dovision.jobs.closing import next_command, print_closing
from dovision.jobs.job import BASIC, Job, plugin
from dovision.results import sweep_summary
from dovision.results.run_files import RUN
from dovision.results.run_record import DAMAGED, MISSING, OUTDATED, Run
from dovision.results.sweep_summary import ended, look_at

log = logging.getLogger(__name__)
OPTIONS = ("rerun=", "dry_run=")  # of a command, not of its jobs
_PERIOD = 1.0  # seconds between looks at the jobs of a sweep
ENDS = ("completed", "partial", "failed")  # an interrupted job goes on, in this sweep or in a later one
AT_WORK = 5.0  # seconds between looks at jobs that go on after their launcher has failed


class Sweep:
    """Jobs of one command, and their results.

    Args:
        config: of the sweep.
        jobs: None if they are chosen as the sweep goes.
        runs: by folder, as they are before the sweep; empty of jobs that are chosen as the sweep goes.
        is_done: all jobs are completed; the sweep only shows them, also where nothing can be written.
    """

    def __init__(
        self,
        config: DictConfig,
        jobs: Sequence[Job] | None,
        runs: Mapping[Path, Run] = MappingProxyType({}),
        is_done: bool = False,
    ) -> None:
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.rerun: str | None = config.rerun
        given = [source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"]
        words = [word for path in given for word in ("--config-dir", path)]
        self._program = shlex.join([sweep_summary.PROGRAM, *words])  # to repeat a job, before its overrides
        self._jobs = jobs
        self._outdated = {folder: run.problem for folder, run in runs.items() if run.state == OUTDATED}
        self._started = {folder: runs[folder].record.get("started") for folder in self._outdated}
        self._is_done = is_done
        if not is_done:
            make_folder(self.folder, setting="output_root")
        completed = {folder for folder, run in runs.items() if run.state == "completed" and self.rerun != "all"}
        self._progress = Progress(jobs or (), completed, bars=plugin(config, "launcher") == BASIC)
        self._progress.__enter__()

    @property
    def jobs(self) -> Sequence[Job]:
        """The jobs; with an adaptive sweeper, all runs in the sweep's folder."""
        if self._jobs is not None:
            return self._jobs
        folders = sorted(path.parent for path in self.folder.glob(f"*/{RUN}"))
        overrides = [look_at(folder).overrides for folder in folders]
        return [Job(*job) for job in zip(folders, overrides, itertools.repeat(None), range(len(folders)))]

    def unfinished(self) -> int:
        """Number of jobs neither completed nor failed, after waiting for running ones."""
        while "running" in (states := [look_at(job.folder).state for job in self.jobs]):
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
        jobs = self.jobs
        ends = [self._ended(job) for job in jobs]
        print_closing(ends, self._program)
        if ends:
            with suppress(OSError) if self._is_done else nullcontext():  # the summary of the jobs is there
                sweep_summary.write_sweep_summary(self.folder, ends)
            written = self.folder / sweep_summary.SWEEP_SUMMARY
            print(f"sweep: {written}\n{next_command(self.folder)}", file=sys.stderr)
        return all(job.state == sweep_summary.GOOD or job.record.get("limits") for job in ends)

    def _ended(self, job: Job) -> Run:
        overrides = [override for override in job.overrides if not override.startswith(OPTIONS)]
        end = ended(job.number, overrides, job.folder, {} if job.settings is None else job.settings.record())
        if self._is_outdated(job.folder):
            return replace(end, state=OUTDATED, problem=self._outdated[job.folder], summary={})
        return end

    def _is_outdated(self, folder: Path) -> bool:
        """Return whether a run outdated at the sweep's start has not been restarted."""
        return folder in self._outdated and look_at(folder).record.get("started") == self._started[folder]


class Progress:
    """Context that reports ended and failed jobs, and the remaining time.

    A row of the display, and a line for each job that fails. `completed` are the folders of jobs that are not done
    again; where jobs run in other processes, whose lines would run into bars, `bars` is false.
    """

    def __init__(self, jobs: Sequence[Job], completed: Collection[Path], bars: bool = True) -> None:
        folders = {job.folder: job for job in jobs}
        self._total, self._bars = len(folders), bars
        self._pending = [job for folder, job in folders.items() if folder not in completed]
        self._versions = {job.folder: _version(job.folder / RUN) for job in self._pending}
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._shown = ExitStack()
        self._failed = 0

    def __enter__(self) -> Progress:
        if self._total:
            done = self._total - len(self._pending)
            self._shown.enter_context(nullcontext() if self._bars else DISPLAY.silenced(lines=True))
            self._jobs = self._shown.enter_context(DISPLAY.stage("sweep", "jobs", self._total, done))
            DISPLAY.in_sweep = self._bars
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._shown.close()
        DISPLAY.in_sweep = False

    def _watch(self) -> None:
        while not self._over.wait(_PERIOD):
            self._look()

    def _look(self) -> None:
        for job in list(self._pending):
            state = self._state(job)
            if state in ENDS:
                self._pending.remove(job)
                self._report(job, state)

    def _state(self, job: Job) -> str:
        """State in a run.json that was written since the last look; "" if none was, whatever a clock says."""
        path = job.folder / RUN
        version = _version(path)
        if version == self._versions[job.folder]:
            return ""
        self._versions[job.folder] = version
        try:
            return str(read_json(path).get("state"))
        except (OSError, ValueError):
            return ""

    def _report(self, job: Job, state: str) -> None:
        self._failed += state == "failed"
        self._jobs.update(failed=self._failed)
        self._jobs.advance()
        if state == "failed":
            log.warning("sweep: %s: failed %s", self._jobs.text(), job.name)


def _version(path: Path) -> tuple[int, int] | None:
    """Inode and time of a file that every write replaces; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
