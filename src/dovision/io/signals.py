"""Signals that end a job: it is left where it is, what is finished is written, and the state says so; other ends."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)  # of a scheduler that is about to take the machine away


class JobFailed(Exception):
    """A job has failed, logged its error, and recorded why; the argument is its folder."""

    exit_code = 1  # of the command


class PartialRun(Exception):
    """Raised if some images or attacks were not measured."""


class Stopped(BaseException):
    """Raised when a signal ends the job; not an Exception, so that no code swallows it.

    Attributes:
        where: in what it was at work, such as "epoch 2 of 10"; empty: not known.
        reported: true once a line on the terminal has named it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
        self.where = ""
        self.reported = False

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}" + (f" in {self.where}" if self.where else "")

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class Stop:
    """Context manager that turns signals into `Stopped`, raised in the main thread.

    Notices of a scheduler are listened to where the scheduler's own client does. Signals that were ignored stay so, and
    forks of this process, such as a loader's workers, leave it to this one to end them.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # Python's rule for signals
            for signum in (*_SIGNALS, *(s for s in NOTICES if callable(signal.getsignal(s)))):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._before[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            if signum != signal.SIGINT:  # which a terminal sends to all processes, and the parent acts on
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            return
        raise Stopped(signum)
