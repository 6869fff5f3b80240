"""The console scripts' common part: the configuration's folder, errors in a sentence, sweeps brought to their end."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml.error import MarkedYAMLError

from dovision.config.composition import refusal
from dovision.config.errors import error_text
from dovision.config.sources import COMMAND_DEFAULTS, configuration_folder
from dovision.identity.relevance import register_resolvers
from dovision.io.allocator import keep_freed_memory
from dovision.io.signals import JobFailed, Stop, Stopped
from dovision.jobs.command import Command, begin
from dovision.jobs.scripts import multirun_first
from dovision.jobs.sweep import Sweep
from dovision.jobs.task import JobTask, Story, quieten

log = logging.getLogger(__name__)
OF_USE = (ValueError, OSError, MemoryError, HydraException, OmegaConfBaseException, MarkedYAMLError)
OF_COMPOSITION = (AssertionError, AttributeError, LookupError, TypeError)  # such as of a key below a list


def hydra_main(name: str, story: Story) -> Callable[[], None]:
    """Make a console script that runs a task on `<name>.yaml`; errors of use print one line, exit code 1."""

    def main() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # hand every error to this function, unprinted
        register_resolvers()
        quieten()
        keep_freed_memory()
        sys.argv[1:] = multirun_first(sys.argv[1:])
        command = begin(name)
        task = JobTask(name, story)
        launch = hydra.main(config_path=str(configuration_folder()), config_name=name, **COMMAND_DEFAULTS)(task)
        code = _outcome(command, launch, task)
        if command.sweep is not None:
            code = _finish(command, command.sweep, launch, task, code)
        if code:
            sys.exit(code)

    return main


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
