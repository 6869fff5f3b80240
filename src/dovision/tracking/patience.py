"""Calls to a service that may be down, for a logger that must neither fail nor stall a job."""

from __future__ import annotations

import functools
import logging
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
        patience: seconds that it may take for an answer.
    """

    def __init__(self, name: str, patience: float) -> None:
        self.name = name
        self.patience = checks.positive("patience", patience)
        self.down = False

    def ask(self, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the service; None if it failed now, with a warning the first time, or earlier."""
        return None if self.down else self._call(self.patience, question, *args, **kwargs)

    def end(self, last_call: Callable[[], Any]) -> None:
        """Make the last call, which releases the client's resources, even if the service is down."""
        self._call(LAST_CALL if self.down else self.patience, last_call)

    def _call(self, seconds: float, question: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
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
