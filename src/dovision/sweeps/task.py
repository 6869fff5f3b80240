"""What a launcher runs, here or in another process: one job, whose end is in its run directory and nowhere else."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dovision.configuration import recorded
from dovision.errors import explain
from dovision.results.run_directory import BeingWritten, RunDirectory
from dovision.session import JobFailed
from dovision.stopping import Stopped
from dovision.sweeps.jobs import check_devices
from dovision.sweeps.sweep import STOP
from dovision.sweeps.worker import check_shared, quieten, stand_in
from dovision.validation import Checks

log = logging.getLogger(__name__)
Story = Callable[[DictConfig], None]


class Task:
    """Tells a story for a configuration; in a sweep, no failure goes beyond it, since a launcher would lose other jobs.

    Args:
        command: its name.
        story: of the command.
    """

    def __init__(self, command: str, story: Story) -> None:
        self.command = command
        self.story = story
        self.home = os.getpid()  # of the process that launches
        self.folder = os.getcwd()  # in which the user stands
        self.started = False  # whether Hydra has composed a configuration for it
        self.error: Exception | None = None  # of a single job, kept from Hydra, which would print lines of its own

    def __call__(self, config: DictConfig) -> None:
        self.started = True
        if os.getpid() != self.home:
            quieten()
            stand_in(self.folder)
        overrides = recorded(HydraConfig.get().overrides.task)
        if HydraConfig.get().mode == RunMode.RUN:
            self._keep_error(config)
            return
        if not _in_sweep():
            self._checked(config)
            return
        if os.getpid() != self.home:
            check_shared(Path(HydraConfig.get().sweep.dir))
        run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
        stop = Path(HydraConfig.get().sweep.dir) / STOP
        try:
            if config.on_failure == "stop" and stop.exists():
                run.skip(overrides, f"on_failure=stop, and another job failed: {stop.read_text()}")
            else:
                self._tell(config, overrides, run)
        except JobFailed:
            if config.on_failure == "stop":
                stop.write_text(" ".join(overrides))
        except BeingWritten:
            log.info("another process is at work on it, and it is left to that: %s", run.path)
        except Stopped as stopped:
            self._pass_on(stopped)

    def _checked(self, config: DictConfig) -> None:
        """The story, after the checks: a sweeper may choose jobs as it goes, and another machine have other devices."""
        hydra = HydraConfig.get()
        _checks(self.command)(config, hydra.overrides.task, hydra.runtime.choices)
        self.story(config)

    def _keep_error(self, config: DictConfig) -> None:
        try:
            self._checked(config)
        except Exception as error:
            self.error = error

    def _tell(self, config: DictConfig, overrides: list[str], run: RunDirectory) -> None:
        try:
            check_devices(config)
            self._checked(config)
        except (JobFailed, BeingWritten):
            raise
        except (Exception, SystemExit) as error:  # before the run was started, or from its very end
            log.error("failed: %s", explain(error))
            _record(run, config, overrides, error)
            raise JobFailed(str(run.path)) from error

    def _pass_on(self, stopped: Stopped) -> None:
        """Let a signal end the launching process, or be answered by the scheduler's client; no other worker."""
        if os.getpid() == self.home or stopped.signum == signal.SIGINT:
            raise stopped
        if callable(signal.getsignal(stopped.signum)):
            signal.raise_signal(stopped.signum)


@functools.cache
def _checks(command: str) -> Checks:
    """The checks of this process, which remember what earlier jobs have shared with a job."""
    return Checks(command)


def _in_sweep() -> bool:
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN and "sweep" in (hydra.callbacks or {})


def _record(run: RunDirectory, config: DictConfig, overrides: list[str], error: BaseException) -> None:
    try:
        if run.state != "completed":
            run.start(recorded(config), overrides, {})
            run.fail(error)
    except (OSError, ValueError) as second:  # such as that of a full disk, which may be the first one, too
        log.error("and that could not be recorded: %s", explain(second))
