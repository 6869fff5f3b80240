"""Status of a run directory: whether the run in it stands for the plan of now, and whether `rerun` skips it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dovision.config.settings import EvaluateSettings
from dovision.identity.differences import differences
from dovision.identity.digests import Digests
from dovision.identity.plans import CLASSIFIER, Plan
from dovision.identity.shared import shared
from dovision.io.process_state import is_rank_zero
from dovision.results import run_files
from dovision.results.run_directory import DAMAGED, DONE, OUTDATED, RunDirectory
from dovision.results.run_files import RUN

log = logging.getLogger(__name__)


class RunStatus(NamedTuple):
    """Status of a run, and the reason to skip it."""

    state: str  # that of the run directory, or OUTDATED
    skip: str = ""  # why it is left; empty if it is to be done
    unlike: str = ""  # in what a completed run differs from the one that is asked for, a line each


def open_run(settings: EvaluateSettings, path: Path) -> RunDirectory | None:
    """Lock the run directory of a job; None, with a log line, if `rerun` skips the job.

    Raises:
        BeingWritten: another process is at work on this run.
        FileNotFoundError, ValueError: there is a completed run, but the data or the checkpoint that are configured now
            cannot be read, so that nobody knows whether it is of these.
    """
    run = RunDirectory(path)
    if not is_rank_zero():
        return run
    status = job_status(settings, run)
    if not status.skip:  # so that skipping needs no lock
        run.hold()
        try:
            status = job_status(settings, run)  # another process may have completed it meanwhile
        except BaseException:
            run.close()
            raise
    if is_left(run, status):
        return None
    for difference in status.unlike.splitlines():
        log.warning("rerun: %s: %s", difference, run.path)
    if status.state == DAMAGED:
        log.warning("interrupted: %s cannot be read", run.path / RUN)
    return run


def is_left(run: RunDirectory, status: RunStatus) -> bool:
    """Return whether a run is left as it is; a log line then says why."""
    if status.skip:
        run.close()
        run.remove_chunks()
        log.info("%s: %s", status.skip, run.path)
    return bool(status.skip)


def job_status(settings: EvaluateSettings, run: RunDirectory) -> RunStatus:
    """Status of a job's run directory; data and weights are only checked if its run is completed."""
    of_command = shared()
    digests = of_command.digests(settings.output_root)
    return run_status(run, lambda: of_command.job(settings, run.path)[0], settings.rerun, digests)


def run_status(run: RunDirectory, plan: Callable[[], Plan], rerun: str | None, digests: Digests) -> RunStatus:
    """Status of a run; final if called under the run's lock.

    The plan of the job is asked for only if the run is completed.

    Raises:
        FileNotFoundError, ValueError: see `open_run`.
    """
    state = run.state
    if rerun == "all":
        return RunStatus(state)
    unlike = _unlike(run, plan(), digests) if state == "completed" else ""
    if unlike and rerun == "none":
        return RunStatus(state, f"accepted as it is, by rerun=none, with {'; '.join(unlike.splitlines())}")
    state = OUTDATED if unlike else state
    skip = ""
    if state == "completed":
        skip = DONE
    elif rerun == "failed" and state != "failed":
        skip = f"skipped (state: {state}, rerun=failed)"
    elif rerun == "unfinished" and state == "failed":
        skip = "skipped (state: failed, rerun=unfinished)"
    return RunStatus(state, skip, unlike)


def _unlike(run: RunDirectory, plan: Plan, digests: Digests) -> str:
    """Describe how a completed run differs from the plan; empty if it does not.

    The name of a directory is no proof of what is in it: a run may have been copied there, or made to write there.
    """
    try:
        record = run.read_record()
        before = Plan.recorded(run.path, record)
        unlike = [*differences(before, plan, digests), *run_files.digest_differences(run.path, record, digests)]
    except FileNotFoundError:
        if run.state == "completed":
            raise
        return ""  # another process measures it again
    classifier = plan.network_keys[CLASSIFIER]
    if classifier.is_given and classifier.weights != before.network_keys[CLASSIFIER].weights:
        from dovision.models.checkpoint import read_checkpoint  # with torchvision

        read_checkpoint(classifier.path)  # raises if missing or damaged, before a completed run is given up for it
    return "\n".join(unlike)
