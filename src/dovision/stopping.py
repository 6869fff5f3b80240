"""Signals that end a job: the batch at hand is finished, what was found is written, and the state says so."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

AT_ONCE = (signal.SIGINT,)
AFTER_THE_BATCH = (signal.SIGTERM, signal.SIGHUP)
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)  # of a scheduler that is about to take the machine away


class Stopped(BaseException):
    """A signal has ended the job; no Exception, since no part may take it for its own."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}"

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


class Stop(Callback):
    """In a `with`, turns signals into `Stopped`; as a callback of a test, lets the batch at hand be finished first.

    Elsewhere `Stopped` is raised at once, as it is for a second signal and for Ctrl-C. Notices of a scheduler are
    listened to where the scheduler's own client does. Signals that were ignored stay so.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._waits = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # Python's rule for signals
            for signum in (*AT_ONCE, *AFTER_THE_BATCH, *(s for s in NOTICES if callable(signal.getsignal(s)))):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._before[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._waits = True

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._asked is not None:
            raise Stopped(self._asked)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._waits = False

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._waits = False

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._waits and self._asked is None and signum not in AT_ONCE:
            self._asked = signum
        else:
            raise Stopped(signum)
