"""A run from its start to its end: directory, log, loggers, seed and state."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from dovision.config.errors import error_text
from dovision.config.settings import EvaluateSettings, TrainSettings
from dovision.config.sources import without_values
from dovision.identity.dependencies import reads_code
from dovision.identity.provenance import peak_memory, provenance
from dovision.io.process_state import freeing_memory, is_rank_zero, isolated
from dovision.io.progress import DISPLAY
from dovision.io.signals import JobFailed, PartialRun, Stop, Stopped
from dovision.jobs.job import Job
from dovision.models.checkpoint import read_checkpoint
from dovision.report.loggers import closing_loggers, make_loggers
from dovision.report.uploader import log_run
from dovision.results.run_record import MODEL, OUTDATED, BeingWritten, Run
from dovision.training.trainer import limits, limits_in_words

log = logging.getLogger(__name__)
_LONGEST = 60  # letters of the overrides in the name of a run in a dashboard


@contextmanager
def running(run: Run, job: Job) -> Iterator[list[Logger]]:
    """Record a run from `running` to its end, with its log, wall time and peak memory.

    The configured loggers receive the configuration, what a completed run shows, and the end in any case. The process
    of a second device only measures its share, and records nothing.

    Raises:
        JobFailed: the body failed, has called `sys.exit`, or has lost images; the reason is in the log and in run.json.
        Stopped: a signal has ended it.
        BeingWritten: another process is at work on this run.
    """
    settings: EvaluateSettings = job.settings
    if not is_rank_zero():
        logging.getLogger().setLevel(logging.WARNING)
        DISPLAY.silence()
        yield loggers_of(job, "evaluate")
        return
    with closing(run):
        record = settings.record()
        started = {"seed": settings.seed, "started": datetime.now(timezone.utc).isoformat()}
        origin = {**provenance(), **started, "tags": _tags(record)}
        limited = limits(settings.trainer)
        afresh = bool(limited) or settings.rerun == "all" or run.state in ("completed", OUTDATED)
        run.start(record, job.overrides, origin, afresh=afresh)
        with (
            log_file(run.folder / "run.log", record),
            _logged(run, job) as loggers,
            _recorded(run, limited),
            freeing_memory(),
            isolated(settings.seed, settings.threads),
            Stop(),
        ):
            log.info("run %s", run.folder)
            yield loggers


@contextmanager
def _recorded(run: Run, limited: Mapping[str, Any]) -> Iterator[None]:
    """Record the end of a run, however it ends; under limits of the trainer it is at most partial."""
    started = time.monotonic()

    def spent() -> dict[str, Any]:
        return {"wall_seconds": round(time.monotonic() - started, 3), "peak_memory_mb": peak_memory()}

    try:
        yield
        if limited:
            reason = f"limited by {limits_in_words(limited)}"
            run.leave_partial(reason, {**spent(), "limits": dict(limited)})
            log.warning("partial, not a result (%s): %s", reason, run.folder)
        else:
            run.complete(spent())
            log.info("completed in %.0f s: %s", time.monotonic() - started, run.folder)
    except BeingWritten:
        raise
    except PartialRun as lost:
        log.error("partial: %s; the same command resumes: %s", lost, run.folder)
        run.leave_partial(str(lost), spent())
        raise JobFailed(str(run.folder)) from lost
    except (Exception, SystemExit) as error:
        log.error("failed: %s", error_text(error))
        run.fail(error, spent())
        log.error("the traceback is in %s", run.folder / "run.json")
        raise JobFailed(str(run.folder)) from error
    except BaseException as stopped:
        reason = f"stopped by {type(stopped).__name__}"
        if isinstance(stopped, Stopped):
            reason, stopped.reported = str(stopped), True
        log.warning("interrupted: %s; the same command resumes: %s", reason, run.folder)
        with suppress(OSError):  # what cannot be recorded is seen from the lock, which nobody holds any more
            run.interrupt(reason, spent())
        raise


@contextmanager
def _logged(run: Run, job: Job) -> Iterator[list[Logger]]:
    """Context of a run's loggers, which receive its figures if it is completed."""
    loggers = loggers_of(job, "evaluate")
    with closing_loggers(loggers):
        yield loggers
        if run.state == "completed":
            log_run(loggers, run.folder)


def loggers_of(job: Job, job_type: str) -> list[Logger]:
    """Make the configured loggers of this job, with their files in its folder, and its configuration."""
    settings: TrainSettings = job.settings
    record = settings.record()
    if settings.checkpoint is not None and settings.foreign_checkpoint is None:  # which names its own model
        record = {**record, MODEL: read_checkpoint(settings.checkpoint)[MODEL]}
    unused = [] if reads_code(settings) else ["autoencoder"]
    identifier = job.folder.name[:6]  # of which there is one, whatever else is called so
    record = {key: value for key, value in record.items() if key not in unused}
    return make_loggers(
        settings.logger,
        job.folder,
        name=f"{job.name[:_LONGEST]} {identifier}",
        suffix=f" {identifier}" if job.in_sweep else "",
        group=job.group,
        job_type=job_type,
        tags=_tags(record),
        config=record,
    )


def _tags(record: Mapping[str, Any]) -> list[str]:
    """Tags of a job, without values of environment variables."""
    return record["tags"] if isinstance(record["tags"], list) else [str(record["tags"])]


class _Formatter(logging.Formatter):
    """Log formatter that hides environment values of the configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__("[%(asctime)s] %(message)s")
        self._config = config

    def format(self, record: logging.LogRecord) -> str:
        return without_values(super().format(record), self._config)


class _LogFile(logging.FileHandler):
    """Log file whose lines may be lost, as on a full disk: a warning says so once, and no traceback."""

    _lacks_lines = False

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(self.baseFilename, flags, 0o666), "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._lacks_lines:
            self._lacks_lines = True
            log.warning("%s may lack lines: %s", self.baseFilename, error_text(error))


@contextmanager
def log_file(path: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Copy the log into a file; `config` is free of environment values."""
    handler = _LogFile(path)
    handler.setFormatter(_Formatter(config))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
