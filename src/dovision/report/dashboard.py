"""Base of the loggers of services, which may be down, and in which a stopped job continues its run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from dovision import checks
from dovision.io import files
from dovision.io.text_files import write_text

log = logging.getLogger(__name__)
RUN_ID = "run_id.txt"
MOST_SCALARS = 40  # of a run that are sent one by one
LAST_CALL = 1.0  # seconds that a service which is down may take to end a run
_OF_UNITS = "average_effect/"  # numbers of a unit and class, as many as there are of both


class Dashboard(Logger):
    """Logger whose service neither fails nor stalls a job: after the first failure the job continues without it.

    Of the numbers the first 40 are scalars, and `rest` has the others. The id of the run lies in a file of the run
    directory until the job is completed. A subclass calls `connect`, and inherits from a logger of Lightning, too.
    """

    remedy = "The tables of the run have all numbers."  # said at the end if the service lacks a part

    def connect(self, service: str, folder: Path, patience: float, is_local: bool) -> None:
        """Set up the calls to a service.

        Args:
            service: its name.
            folder: of the file that holds the id of the run.
            patience: seconds that it may take for an answer.
            is_local: it is a folder, a write to which may take any time.
        """
        checks.positive("patience", patience)
        self.service = service
        self.patience = None if is_local else patience
        self.down = False
        self.lost: Counter[str] = Counter()  # calls without an answer, by the name of the method
        self.rest: dict[str, float] = {}
        self._scalars: set[str] = set()
        self._id_file = folder / RUN_ID

    def ask(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call the service; None if it failed now, with a warning the first time, or earlier."""
        answer = None if self.down else self.wait(self.patience, call, *args)
        self.lost[call.__name__] += self.down
        return answer

    def wait(self, seconds: float | None, call: Callable[..., Any], *args: Any) -> Any:
        """Call the service, also if it is down; None if it fails, or takes longer."""
        answer: Future[Any] = Future()

        def attempt() -> None:
            try:
                answer.set_result(call(*args))
            except Exception as error:  # whatever a service's client raises
                answer.set_exception(error)

        Thread(target=attempt, daemon=True).start()
        try:
            return answer.result(seconds)
        except Exception as error:
            trouble = error if answer.done() else f"no answer within {seconds:g} s"
            if not self.down:
                self.down = True
                log.warning("%s failed; the job continues without it: %s", self.service, trouble)
            return None

    def log_hyperparams(self, params: Any) -> None:
        """Log the configuration."""
        self.ask(super().log_hyperparams, params)  # type: ignore[safe-super]

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the numbers with the first 40 names, and whatever is no number; keep the others for one table."""
        sent = {}
        for name, value in metrics.items():
            is_number = isinstance(value, (int, float, Tensor))
            is_scalar = len(self._scalars) < MOST_SCALARS and not name.startswith(_OF_UNITS)
            if is_number and not is_scalar and name not in self._scalars:
                self.rest[name] = float(value)
                continue
            self._scalars |= {name} if is_number else set()
            sent[self.metric_name(name)] = value
        self.ask(super().log_metrics, sent, step)  # type: ignore[safe-super]

    def metric_name(self, name: str) -> str:
        """Name of a metric that the service takes."""
        return name

    def earlier_id(self) -> str | None:
        """Id of the run left by an earlier start of the job; None if there is none."""
        try:
            return files.read_text(self._id_file).strip() or None
        except FileNotFoundError:
            return None

    @rank_zero_only
    def keep_id(self, run_id: str) -> None:
        """Store the id for a later start."""
        self._id_file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._id_file, f"{run_id}\n")

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """Say what the service lacks, and let the next start begin a new run, unless this job failed."""
        if self.down:
            lost = ", ".join(f"{count} of {name}" for name, count in self.lost.items() if count) or "the last one"
            log.warning("%s lacks a part of this job (calls: %s). %s", self.service, lost, self.remedy)
        if not failed:
            self._id_file.unlink(missing_ok=True)
