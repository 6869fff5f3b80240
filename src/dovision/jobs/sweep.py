"""A sweep from its first job to its closing table, and its progress, the same for every launcher."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

from omegaconf import DictConfig

from dovision.io.progress import DISPLAY
from dovision.io.text_files import make_folder
from dovision.jobs.closing import next_command, print_closing
from dovision.jobs.job import BASIC, Job, plugin
from dovision.results import sweep_summary
from dovision.results.run_files import RUN
from dovision.results.run_record import DAMAGED, MISSING, OUTDATED, Run
from dovision.results.sweep_summary import ended, look_at

log = logging.getLogger(__name__)
OPTIONS = ("rerun=", "dry_run=")  # of a command, not of its jobs
LOOK_PERIOD = 1.0  # seconds between looks at the jobs of a sweep
ENDS = ("completed", "partial", "failed")  # an interrupted job goes on, in this sweep or in a later one
AT_WORK = 5.0  # seconds between looks at jobs that go on after their launcher has failed


class Sweep:
    """Jobs of one command, and their results.

    Args:
        config: of the sweep.
        jobs: in their order.
        runs: by folder, as they are before the sweep.
        is_done: all jobs are completed; the sweep only shows them, also where nothing can be written.
    """

    def __init__(self, config: DictConfig, jobs: Sequence[Job], runs: Mapping[Path, Run], is_done: bool) -> None:
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.rerun: str | None = config.rerun
        given = [source.path for source in config.hydra.runtime.config_sources if source.provider == "command-line"]
        words = [word for path in given for word in ("--config-dir", path)]
        self._program = shlex.join([sweep_summary.PROGRAM, *words])  # to repeat a job, before its overrides
        self._jobs = jobs
        self._outdated = {folder: run.problem for folder, run in runs.items() if run.state == OUTDATED}
        self._is_done = is_done
        if not is_done:
            make_folder(self.folder, setting="output_root")
        completed = {folder for folder, run in runs.items() if run.state == "completed" and self.rerun != "all"}
        self._progress = Progress(jobs, completed, bars=plugin(config, "launcher") == BASIC)
        self._progress.__enter__()

    def unfinished(self) -> int:
        """Number of jobs neither completed nor failed, after waiting for running ones."""
        while "running" in (states := [look_at(job.folder).state for job in self._jobs]):
            time.sleep(AT_WORK)
        outdated = sum(self._is_outdated(job.folder) for job in self._jobs)
        return outdated + sum(state in (MISSING, DAMAGED, "interrupted") for state in states)

    def close(self) -> bool:
        """Print the results of the jobs, write the summary, and return whether all jobs are done.

        That is completed, or partial by limits of the trainer that they were asked to keep.

        Raises:
            OSError: it could not be written.
        """
        self._progress.__exit__()
        ends = [self._ended(job) for job in self._jobs]
        print_closing(ends, self._program)
        with suppress(OSError) if self._is_done else nullcontext():  # the summary of the jobs is there
            sweep_summary.write_sweep_summary(self.folder, ends)
        written = self.folder / sweep_summary.SWEEP_SUMMARY
        print(f"sweep: {written}\n{next_command(self.folder)}", file=sys.stderr)
        return all(job.state == sweep_summary.GOOD or job.record.get("limits") for job in ends)

    def _ended(self, job: Job) -> Run:
        overrides = [override for override in job.overrides if not override.startswith(OPTIONS)]
        end = ended(job.number, overrides, job.folder, job.settings.record())
        if self._is_outdated(job.folder):
            return replace(end, state=OUTDATED, problem=self._outdated[job.folder], summary={})
        return end

    def _is_outdated(self, folder: Path) -> bool:
        """Return whether a run outdated at the sweep's start has not been restarted."""
        return folder in self._outdated and not self._progress.has_begun(folder)


class Progress:
    """Context that reports ended and failed jobs, and the remaining time, by their run.json.

    A row of the display, and a line for each job that fails. `completed` are the folders of jobs that are not done
    again; where jobs run in other processes, whose lines would run into bars, `bars` is false.
    """

    def __init__(self, jobs: Sequence[Job], completed: Collection[Path], bars: bool = True) -> None:
        self._versions = {job.folder: _version(job.folder) for job in jobs}
        self._seen = {**self._versions}  # at the last look
        self._pending = {job.folder: job for job in jobs if job.folder not in completed}
        self._bars = bars
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._shown = ExitStack()
        self._failed = 0

    def __enter__(self) -> Progress:
        total = len(self._versions)
        self._shown.enter_context(nullcontext() if self._bars else DISPLAY.silenced(lines=True))
        self._jobs = self._shown.enter_context(DISPLAY.stage("sweep", "jobs", total, total - len(self._pending)))
        DISPLAY.in_sweep = self._bars
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._shown.close()
        DISPLAY.in_sweep = False

    def has_begun(self, folder: Path) -> bool:
        """Return whether the run.json of a job was written in this sweep, whatever a clock says."""
        return _version(folder) != self._versions[folder]

    def _watch(self) -> None:
        while not self._over.wait(LOOK_PERIOD):
            self._look()

    def _look(self) -> None:
        for folder, job in [*self._pending.items()]:
            before, self._seen[folder] = self._seen[folder], _version(folder)
            if self._seen[folder] != before and (state := look_at(folder).state) in ENDS:
                del self._pending[folder]
                self._failed += state == "failed"
                self._jobs.update(failed=self._failed)
                self._jobs.advance()
                if state == "failed":
                    log.warning("sweep: %s: failed %s", self._jobs.text(), job.name)


def _version(folder: Path) -> tuple[int, int] | None:
    """Inode and time of a run.json, which every write replaces; None if it is missing."""
    try:
        status = (folder / RUN).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
