"""The console scripts' common part: errors in a sentence, sweeps brought to their end, and the task of a job."""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread
from types import ModuleType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml.error import MarkedYAMLError

from dovision.config.composition import refusal
from dovision.config.errors import error_text
from dovision.config.sources import COMMAND_DEFAULTS, configuration_folder, recorded
from dovision.identity.relevance import register_resolvers
from dovision.io.allocator import keep_freed_memory, uncollected
from dovision.io.progress import DISPLAY, in_console
from dovision.io.signals import JobFailed, Stop, Stopped
from dovision.jobs.command import Command, begin, current
from dovision.jobs.job import Job, plain_overrides
from dovision.jobs.keys import drop_unselected
from dovision.jobs.scripts import multirun_first
from dovision.jobs.sweep import Sweep
from dovision.results.run_record import BeingWritten, Run

log = logging.getLogger(__name__)
OF_USE = (ValueError, OSError, MemoryError, HydraException, OmegaConfBaseException, MarkedYAMLError)
OF_COMPOSITION = (AssertionError, AttributeError, LookupError, TypeError)  # such as of a key below a list
WATCH_PERIOD = 0.5  # seconds between looks at the launching process
STORIES = {"train": "train_networks", "evaluate": "evaluate_effects"}
STORIES |= {"report": "report_of_settings", "sites": "list_sites", "verify": "verify_run", "view": "view"}
Story = Callable[[Job], None]  # of a command


def hydra_main(name: str, story: Story | None = None) -> Callable[[], None]:
    """Make a console script that runs a story, by default the command's own, on jobs of `<name>.yaml`.

    Errors of use print one line, exit code 1.
    """

    def main() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # hand every error to this function, unprinted
        register_resolvers()
        quieten()
        keep_freed_memory()
        sys.argv[1:] = multirun_first(sys.argv[1:])
        command = begin(name)
        task = JobTask(name, story or partial(_run_story, name))
        launch = hydra.main(config_path=str(configuration_folder()), config_name=name, **COMMAND_DEFAULTS)(task)
        code = _outcome(command, launch, task)
        if command.sweep is not None:
            code = _finish(command, command.sweep, launch, task, code)
        if code:
            sys.exit(code)

    return main


def _run_story(name: str, job: Job) -> None:
    """Run a command's story, whose imports only a job with something to do waits for."""
    getattr(_module(name), STORIES[name])(job)


@cache  # a second job of a process would freeze what the first has left
def _module(name: str) -> ModuleType:
    with uncollected():
        return import_module(f"dovision.jobs.{name}")


def _outcome(command: Command, launch: Callable[[], None], task: JobTask) -> int:
    """Exit code of a launch; prints its errors in a line."""
    try:
        with Stop():
            launch()
            if task.error is not None:
                raise task.error
    except JobFailed as failed:
        return failed.exit_code
    except Stopped as stopped:
        if not stopped.reported:
            resumes = "" if command.name == "report" else "; the same command resumes"
            print(f"dovision-{command.name}: interrupted: {stopped}{resumes}", file=sys.stderr)
        return stopped.exit_code
    except Exception as error:
        if not task.started and command.sweep is None and isinstance(error, (*OF_USE, *OF_COMPOSITION)):
            text = refusal(error, command.name, sys.argv[1:])
        elif isinstance(error, OF_USE):
            text = error_text(error)
        elif command.sweep is None:
            raise
        else:
            log.error("the launcher failed, with its running jobs: %s", error_text(error))
            return 1
        print(f"dovision-{command.name}: {text}", file=sys.stderr)
        return 1
    return 0


def _finish(command: Command, sweep: Sweep, launch: Callable[[], None], task: JobTask, code: int) -> int:
    """Relaunch jobs that the launcher has lost while that makes progress, then close the sweep."""
    if code == 1 and sweep.rerun is None:
        left = sweep.unfinished()
        while left and code == 1:
            log.warning("%d jobs were lost and are relaunched", left)
            code = _outcome(command, launch, task)
            before, left = left, sweep.unfinished()
            if left >= before:
                break
    try:
        completed = sweep.close()
    except OSError as error:
        print(
            f"dovision-{command.name}: the summary of the sweep could not be written: {error_text(error)}",
            file=sys.stderr,
        )
        return code or 1
    return code or int(not completed)


class JobTask:
    """Hydra's task function; in a sweep no failure leaves it, since the launcher would lose other jobs."""

    def __init__(self, command: str, story: Story) -> None:
        self.command = command
        self.story = story
        self.process = this_process()  # that launches
        self.folder = os.getcwd()
        self.started = False  # whether Hydra has composed a configuration for it
        self.error: Exception | None = None  # of a single job, kept from Hydra, which would print lines of its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        quieten()  # this is a worker, in which Hydra composes, and warns, before it calls the task
        if self.process != this_process() and current_thread() is main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, with which the worker ends

    def __call__(self, config: DictConfig) -> None:
        self.started = True
        if HydraConfig.get().mode == RunMode.RUN:
            try:
                self._run(config)
            except Exception as error:
                self.error = error
        elif self.process == this_process():
            for handler in logging.getLogger().handlers:  # which Hydra has made of its configuration
                if getattr(handler, "stream", None) is sys.stderr:
                    handler.addFilter(in_console)
            self._run_in_sweep(config)
        else:
            self._run_in_worker(config)

    def _run_in_worker(self, config: DictConfig) -> None:
        keep_freed_memory()
        os.chdir(self.folder)  # in which the user stands, and which relative paths refer to
        DISPLAY.silence(lines=True)
        try:
            with watched(self.process), Stop():
                self._run_in_sweep(config)
        except Stopped as stopped:  # this worker alone, as by its scheduler
            if callable(signal.getsignal(stopped.signum)):
                signal.raise_signal(stopped.signum)  # for the scheduler's client, which answers it
            elif not _has_run_directory():
                raise JobFailed(str(stopped)) from None

    def _run_in_sweep(self, config: DictConfig) -> None:
        """Run a job; if it has a run directory, that records its failure."""
        if not _has_run_directory():
            self._run(config)
            return
        run = Run(Path(HydraConfig.get().runtime.output_dir))
        try:
            self._run(config)
        except JobFailed:
            pass
        except BeingWritten:
            log.info("skipped: locked by another process: %s", run.folder)
        except (Exception, SystemExit) as error:  # before the run was started, or from its very end
            log.error("failed: %s", error_text(error))
            self._record(run, config, error)

    def _run(self, config: DictConfig) -> None:
        """Run the command on the job that was made before the first started, else on one that is made here."""
        command, hydra = current(self.command), HydraConfig.get()
        job = command.jobs.get(Path(hydra.runtime.output_dir))
        if job is None or job.overrides != plain_overrides(hydra, "task"):
            job = command.check(command.job(config, hydra))
        self.story(job)

    def _record(self, run: Run, config: DictConfig, error: BaseException) -> None:
        """Record an error from outside the run."""
        overrides = plain_overrides(HydraConfig.get(), "task")
        try:
            if run.look().state != "completed":
                run.start(recorded(drop_unselected(self.command, config, overrides)), overrides, {})
                run.fail(error)
        except (OSError, ValueError) as second:  # such as that of a full disk, which may be the first one, too
            log.error("the failure could not be recorded: %s", error_text(second))


def _has_run_directory() -> bool:
    """Return whether jobs of the command have run directories, which record their ends."""
    return "sweep" in (HydraConfig.get().callbacks or {})


def this_process() -> str:
    """Name of this process among those of all machines."""
    return f"{platform.node()}-{os.getpid()}"


@contextmanager
def watched(process: str) -> Iterator[None]:
    """End this worker once the launching process has ended, if that is on this machine; finished rows stay."""
    node, _, number = process.rpartition("-")
    over = Event()

    def watch() -> None:
        while not over.wait(WATCH_PERIOD):
            if not _lives(int(number)):
                os._exit(1)

    if node == platform.node():
        Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def quieten() -> None:
    """Suppress terminal output of libraries about their internals, Lightning's advice and fontTools' glyphs.

    And what Pillow says of large images, which dovision.io.images refuses.
    """
    for name in ("fontTools", "lightning.pytorch", "lightning_fabric", "pydicom", "pytorch_lightning"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL if name == "pydicom" else logging.ERROR)  # errors name what it cannot decode
        logger.setLevel = lambda level: None  # type: ignore[method-assign]  # which an import sets, once it is needed
    warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\..*")
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(hydra|dovision\.jobs)\.")
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated")  # by a caller of any module


train, evaluate, report, sites, verify, view = map(hydra_main, STORIES)
