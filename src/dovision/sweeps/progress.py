"""Progress of a sweep, read from the run directories: the same for every launcher."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Event, Thread

from tqdm import tqdm

from dovision.io.text_files import read_json
from dovision.store.run_files import RUN
from dovision.sweeps.jobs import Job

log = logging.getLogger(__name__)
_PERIOD = 1.0  # seconds between looks
ENDS = ("completed", "partial", "failed", "skipped")  # an interrupted job goes on, in this sweep or in a later one


class Progress:
    """In a `with`, says how many jobs have ended, how many of them failed, and how long the rest may take.

    A bar on a terminal; elsewhere a line for each job that ends.

    Args:
        jobs: of the sweep.
        again: the folders of those whose completed run is done again.
    """

    def __init__(self, jobs: Sequence[Job], again: Collection[Path]) -> None:
        self._again = again
        self._pending = list({job.folder: job for job in jobs}.values())
        self._total = len(self._pending)
        self._failed = 0
        self._began = time.time()
        self._first = self._total  # jobs to do when the first look was over
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        self._look(quietly=True)
        self._first = len(self._pending)
        self._bar = tqdm(total=self._total, initial=self._total - self._first, unit="job", disable=not self._terminal)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self._bar.close()

    def _watch(self) -> None:
        while not self._over.wait(_PERIOD):
            self._look()

    def _look(self, quietly: bool = False) -> None:
        for job in list(self._pending):
            state = _state_since(job.folder, self._began, job.folder in self._again)
            if state == "completed" or (state in ENDS and not quietly):
                self._pending.remove(job)
                if not quietly:
                    self._report(job, state)

    def _report(self, job: Job, state: str) -> None:
        self._failed += state != "completed"
        ended = self._total - len(self._pending)
        failures = f", {self._failed} not completed" if self._failed else ""
        if self._terminal:
            self._bar.set_postfix_str(failures.lstrip(", "), refresh=False)
            self._bar.update()
        else:
            log.info("%d of %d jobs ended%s%s: %s %s", ended, self._total, failures, self._left(), state, job.name)

    def _left(self) -> str:
        done = self._first - len(self._pending)
        seconds = (time.time() - self._began) / max(done, 1) * len(self._pending)
        return f", about {seconds / 60:.0f} min left" if self._pending else ""


def _state_since(folder: Path, began: float, afresh: bool) -> str:
    """The state in run.json; "" for one that is older than the sweep and is to be done again."""
    path = folder / RUN
    try:
        state = str(read_json(path).get("state"))
        return state if (state == "completed" and not afresh) or path.stat().st_mtime >= began else ""
    except (OSError, ValueError):
        return ""
