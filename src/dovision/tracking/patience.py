"""Calls to a service that may be down, for a logger that must neither fail nor stall a job."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any

from dovision import checks

log = logging.getLogger(__name__)
LAST_CALL = 1.0  # seconds that a service which is down may take to end a run


class Service:
    """Service that is called until it fails or times out; afterwards the job continues without it.

    Args:
        name: of the service, for the log.
        patience: seconds that it may take for an answer; None for a local write, which may take any time.
    """

    def __init__(self, name: str, patience: float | None) -> None:
        self.name = name
        self.patience = None if patience is None else checks.positive("patience", patience)
        self.down = False
        self.lost: Counter[str] = Counter()  # calls without an answer, by the name of the method

    def ask(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the service; None if it failed now, with a warning the first time, or earlier."""
        answer = None if self.down else self._call(self.patience, question, *args, **kwargs)
        self.lost[getattr(question, "__name__", "call")] += self.down
        return answer

    def end(self, last_call: Callable[[], Any] | None, remedy: str) -> None:
        """Make the last call, which releases the client's resources, even if the service is down; log what is lost.

        Args:
            last_call: None if there is none.
            remedy: a sentence that says how to send what is stored here.
        """
        if last_call is not None:
            self._call(LAST_CALL if self.down else self.patience, last_call)
        if self.down:
            lost = ", ".join(f"{count} of {name}" for name, count in self.lost.items() if count)
            log.warning("%s lacks a part of this job (calls: %s). %s", self.name, lost or "the last one", remedy)

    def _call(self, seconds: float | None, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        answers: list[Any] = []
        errors: list[Exception] = []

        def attempt() -> None:
            try:
                answers.append(question(*args, **kwargs))
            except Exception as error:  # whatever a service's client raises
                errors.append(error)

        thread = Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(seconds)
        if answers or self.down:
            return answers[0] if answers else None
        self.down = True
        trouble = errors[0] if errors else f"no answer within {self.patience:g} s"
        log.warning("%s failed; the job continues without it: %s", self.name, trouble)
        return None


def patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a logger's method in calls through its `service`."""

    @functools.wraps(method)
    def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.service.ask(method, self, *args, **kwargs)

    return ask
