"""Task that a launcher runs, here or elsewhere: one job, whose end is in its run directory and nowhere else."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import rich
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dovision.config.errors import error_text
from dovision.config.sources import recorded
from dovision.io.allocator import keep_freed_memory
from dovision.io.outcomes import JobFailed
from dovision.io.process_state import is_rank_zero
from dovision.io.progress import DISPLAY
from dovision.io.signals import Stop, Stopped
from dovision.jobs.jobs import check_devices
from dovision.jobs.keys import drop_unselected
from dovision.jobs.launch import Launch, chdir_to, quieten
from dovision.jobs.validation import checks_of
from dovision.results.run_directory import BeingWritten, RunDirectory

log = logging.getLogger(__name__)
Story = Callable[[Any], float | None]  # of the settings of a command, to the number that they ask to be optimized


class JobTask:
    """Hydra's task function; in a sweep no failure leaves it, since the launcher would lose other jobs."""

    def __init__(self, command: str, story: Story, launch: Launch) -> None:
        self.command = command
        self.story = story
        self.launch = launch
        self.folder = os.getcwd()  # in which the user stands
        self.started = False  # whether Hydra has composed a configuration for it
        self.error: Exception | None = None  # of a single job, kept from Hydra, which would print lines of its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        quieten()  # this is a worker, in which Hydra composes, and warns, before it calls the task
        if not self.launch.is_here and current_thread() is main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, with which the worker ends

    def __call__(self, config: DictConfig) -> float | None:
        self.started = True
        if not self.launch.is_here:
            keep_freed_memory()
            chdir_to(self.folder)
            DISPLAY.silence(lines=True)
        overrides = recorded(HydraConfig.get().overrides.task)
        if HydraConfig.get().mode == RunMode.RUN:
            try:
                return self._checked(config)
            except Exception as error:
                self.error = error
                return None
        return self._do(config, overrides) if self.launch.is_here else self._work(config, overrides)

    def _work(self, config: DictConfig, overrides: list[str]) -> float | None:
        """Run a job in a worker."""
        self.launch.check_shared(Path(HydraConfig.get().sweep.dir))
        try:
            with self.launch.watched(), Stop():
                return self._do(config, overrides)
        except Stopped as stopped:  # this worker alone, as by its scheduler
            if callable(signal.getsignal(stopped.signum)):
                signal.raise_signal(stopped.signum)  # for the scheduler's client, which answers it
            elif not _has_run_directory():
                raise JobFailed(str(stopped)) from None
        return None

    def _do(self, config: DictConfig, overrides: list[str]) -> float | None:
        """Run a job and return its optimised metric; nan if it fails, which no sweeper selects."""
        if not _has_run_directory():
            return self._checked(config)
        run, sweep = RunDirectory(Path(HydraConfig.get().runtime.output_dir)), Path(HydraConfig.get().sweep.dir)
        failure = self.launch.failure(sweep) if config.on_failure == "stop" else ""
        try:
            if failure:
                run.skip(overrides, f"on_failure=stop, and another job failed: {failure}")
            else:
                return self._run_story(config, overrides, run)
        except JobFailed:
            if config.on_failure == "stop":
                self.launch.report_failure(sweep, " ".join(overrides))
        except BeingWritten:
            log.info("skipped: locked by another process: %s", run.path)
        return math.nan if config.optimized_metric else None

    def _checked(self, config: DictConfig) -> float | None:
        """Check the job again, as sweepers choose jobs adaptively and machines differ, and run the command."""
        hydra = HydraConfig.get()
        settings = checks_of(self.command)(config, hydra.overrides.task, hydra.runtime.choices)
        if config.get("print_config") and is_rank_zero():
            from rich.syntax import Syntax  # which other commands do not wait for

            text = yaml.safe_dump(settings.record(), sort_keys=False, allow_unicode=True)
            rich.print(Syntax(text.rstrip(), "yaml", background_color="default", word_wrap=True))
        return self.story(settings)

    def _run_story(self, config: DictConfig, overrides: list[str], run: RunDirectory) -> float | None:
        try:
            check_devices(config)
            return self._checked(config)
        except (JobFailed, BeingWritten):
            raise
        except (Exception, SystemExit) as error:  # before the run was started, or from its very end
            log.error("failed: %s", error_text(error))
            _record(run, self.command, config, overrides, error)
            raise JobFailed(str(run.path)) from error


def _has_run_directory() -> bool:
    """Return whether jobs of the command have run directories, which record their ends."""
    return "sweep" in (HydraConfig.get().callbacks or {})


def _record(run: RunDirectory, command: str, config: DictConfig, overrides: list[str], error: BaseException) -> None:
    try:
        if run.state != "completed":
            run.start(recorded(drop_unselected(command, config, overrides)), overrides, {})
            run.fail(error)
    except (OSError, ValueError) as second:  # such as that of a full disk, which may be the first one, too
        log.error("the failure could not be recorded: %s", error_text(second))
