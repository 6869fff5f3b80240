"""A run from its start to its end: directory, log, seed and state."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from dovision.config import hashing
from dovision.config.errors import explain
from dovision.config.settings import EvaluateSettings
from dovision.config.sources import recorded
from dovision.runtime.outcomes import ImagesLost, JobFailed
from dovision.runtime.process_state import freeing_memory, is_rank_zero, isolated
from dovision.runtime.progress import DISPLAY
from dovision.runtime.signals import Stop, Stopped
from dovision.store.provenance import peak_memory, provenance
from dovision.store.run_directory import BeingWritten, RunDirectory
from dovision.store.run_record import read_sweep
from dovision.tracking.csv_logger import CSVLogger
from dovision.training.trainer import limits, limits_in_words

log = logging.getLogger(__name__)


@contextmanager
def running(run: RunDirectory, settings: EvaluateSettings) -> Iterator[Stop]:
    """Record a run from `running` to its end, with its log, wall time and peak memory.

    Yields the callback that lets a test end at a signal. The configured logger receives the start, of a completed
    run, and of the end in any case. The process of a second device only measures its share, and records nothing.

    Raises:
        JobFailed: the body failed, has called `sys.exit`, or has lost images; the reason is in the log and in run.json.
        Stopped: a signal has ended it.
        BeingWritten: another process is at work on this run.
    """
    if not is_rank_zero():
        logging.getLogger().setLevel(logging.WARNING)
        DISPLAY.silence()
        yield Stop()
        return
    with closing(run):
        logger: CSVLogger = settings.logger.make()
        record, overrides = settings.record(), recorded(HydraConfig.get().overrides.task)
        facts = {**provenance(), "seed": settings.seed, "started": datetime.now(timezone.utc).isoformat()}
        facts |= {"tags": list(settings.tags)}
        facts |= {"work": hashing.work_hash(settings), "questions": hashing.questions(settings)}
        limited = limits(settings.trainer)
        afresh = bool(limited) or settings.rerun == "all" or run.state == "completed"
        run.start(record, overrides, facts, afresh=afresh)
        logger_knows = record["name"], " ".join(overrides) or run.path.name, record
        with (
            log_file(run.path / "run.log"),
            _logged(logger, run, *logger_knows),
            _recorded(run, limited),
            freeing_memory(),
            isolated(settings.seed, settings.threads),
            Stop() as stop,
        ):
            log.info("run %s", run.path)
            yield stop


@contextmanager
def _recorded(run: RunDirectory, limited: Mapping[str, Any]) -> Iterator[None]:
    """Record the end of a run, whatever ends it; one under limits of the trainer is partial at best."""
    started = time.monotonic()

    def spent() -> dict[str, Any]:
        return {"wall_seconds": round(time.monotonic() - started, 3), "peak_memory_mb": peak_memory()}

    try:
        yield
        if limited:
            reason = f"limited by {limits_in_words(limited)}"
            run.leave_partial(reason, {**spent(), "limits": dict(limited)})
            log.warning("partial, and no result, since it is %s: %s", reason, run.path)
        else:
            run.complete(spent())
            log.info("completed in %.0f s: %s", time.monotonic() - started, run.path)
    except BeingWritten:
        raise
    except ImagesLost as lost:
        log.error("partial: %s; the same command goes on from here: %s", lost, run.path)
        run.leave_partial(str(lost), spent())
        raise JobFailed(str(run.path)) from lost
    except (Exception, SystemExit) as error:
        log.error("failed: %s", explain(error))
        run.fail(error, spent())
        log.error("the traceback is in %s", run.path / "run.json")
        raise JobFailed(str(run.path)) from error
    except BaseException as stopped:
        reason = str(stopped) if isinstance(stopped, Stopped) else f"stopped by {type(stopped).__name__}"
        log.warning("%s; the same command goes on from here: %s", reason, run.path)
        with suppress(OSError):  # what cannot be recorded is seen from the lock, which nobody holds any more
            run.interrupt(reason, spent())
        raise


@contextmanager
def _logged(logger: CSVLogger, run: RunDirectory, group: str, name: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Report to the logger a run's start and end, and of its numbers if it is completed."""
    try:
        logger.start(run.path, group, name, settings)
        yield
        if run.state == "completed":
            logger.report(read_sweep(run.path)[0])
    finally:
        logger.finish(failed=run.state != "completed")


@contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Keep a copy of the log in a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
