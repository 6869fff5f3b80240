"""Progress of a sweep, read from the run directories: the same for every launcher."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

from dovision.io.text_files import read_json
from dovision.runtime.progress import DISPLAY
from dovision.store.run_files import RUN
from dovision.sweeps.jobs import Job

log = logging.getLogger(__name__)
_PERIOD = 1.0  # seconds between looks
ENDS = ("completed", "partial", "failed", "skipped")  # an interrupted job goes on, in this sweep or in a later one


class Progress:
    """Context that reports ended and failed jobs, and the remaining time.

    A bar of the display on a terminal; elsewhere a line for each job that ends.

    Args:
        jobs: of the sweep.
        again: the folders of those whose completed run is done again.
    """

    def __init__(self, jobs: Sequence[Job], again: Collection[Path]) -> None:
        self._again = again
        self._pending = list({job.folder: job for job in jobs}.values())
        self._before = {job.folder: _version(job.folder / RUN) for job in self._pending}
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._shown = ExitStack()

    def __enter__(self) -> Progress:
        total = len(self._pending)
        self._pending = [job for job in self._pending if self._state(job) != "completed"]
        if total:
            self._jobs = self._shown.enter_context(DISPLAY.sweep(total, total - len(self._pending)))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._shown.close()

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
        """State in run.json; "" if it is that from before the sweep and to be rerun."""
        path = job.folder / RUN
        is_new = _version(path) != self._before[job.folder]  # whatever the clock of the file system says
        try:
            state = str(read_json(path).get("state"))
        except (OSError, ValueError):
            return ""
        return state if is_new or (state == "completed" and job.folder not in self._again) else ""

    def _report(self, job: Job, state: str) -> None:
        self._jobs.advance()
        self._jobs.failed += state == "failed"
        if not DISPLAY.has_bars:
            now = time.monotonic()
            self._jobs.measure(now)
            log.info("%s: %s %s", self._jobs.line(now), state, job.name)


def _version(path: Path) -> tuple[int, int] | None:
    """Inode and time of a file that every write replaces; None if it is missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
