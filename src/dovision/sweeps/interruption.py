"""Signals to a command whose jobs are done by workers: they end their jobs, and then the command ends.

No signal and no exception passes through the launcher: a worker learns from the launch's folder that it is to end.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from dovision.runtime.signals import Stop, Stopped, following, say
from dovision.sweeps.launch import Launch

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PERIOD = 0.2  # seconds between looks
GRACE = 30.0  # seconds that workers have to end their jobs


class Interruption:
    """Context of the launching process: a signal ends the running jobs, then the block.

    The block then ends with `Stopped`; at once for a second signal, or when the workers have had their time. Workers
    that are started in the block do not receive Ctrl-C, which a terminal sends to all processes of a command.
    """

    def __init__(self, launch: Launch, sweep: Path) -> None:
        self.launch = launch
        self.sweep = sweep
        self._signum: int | None = None
        self._deadline = 0.0
        self._before: dict[int, Any] = {}
        self._over = threading.Event()

    def __enter__(self) -> Interruption:
        self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._look)
        for signum in SIGNALS:
            if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                self._before[signum] = signal.signal(signum, self._receive)
        _start_trackers()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # processes started here inherit it
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        while self._before:
            signal.signal(*self._before.popitem())
        self._over.set()
        self._listener.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        if self._signum is not None:
            raise self._stopped() from error

    def _listen(self) -> None:
        """Receive Ctrl-C, which the main thread and what it starts do not; Python answers it in the main thread."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._over.wait()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            raise self._stopped()
        self._signum, self._deadline = signum, time.monotonic() + GRACE
        warnings.filterwarnings("ignore", "A worker stopped while some jobs")  # of loky, whose workers end now
        say(f"{signal.Signals(signum).name}: the jobs at work end, and keep what is finished. Once more ends at once.")
        with suppress(OSError):  # such as that of a full disk: then the workers have their time, and are ended after it
            self.launch.stop(self.sweep, signum)
        signal.setitimer(signal.ITIMER_REAL, _PERIOD, _PERIOD)

    def _look(self, signum: int, frame: FrameType | None) -> None:
        """End the block once no worker is busy, whatever the launcher still waits for, such as a queue."""
        if not self.launch.is_at_work(self.sweep) or time.monotonic() > self._deadline:
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise self._stopped()

    def _stopped(self) -> Stopped:
        assert self._signum is not None
        stopped = Stopped(self._signum)
        stopped.reported = True
        return stopped


@contextmanager
def interruptible(launch: Launch, sweep: Path) -> Iterator[None]:
    """Context of a worker: ends with `Stopped` when the launching process asks for it.

    From then on the worker is silent: the launching process reports what becomes of the jobs.
    """
    over, meant = threading.Event(), list[int]()

    def listen() -> None:
        while not over.wait(_PERIOD):
            signum = launch.stopped_by(sweep)
            if signum is not None:
                meant.append(signum)
                _silence(1, 2)
                _thread.interrupt_main(signal.SIGTERM)
                return

    with following(meant), Stop():
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield
        finally:
            over.set()
            listener.join()


def _start_trackers() -> None:
    """Start the semaphore trackers silently; they would warn about semaphores of ended workers.

    Started later, by Python and by loky themselves, they would let Ctrl-C through to workers again.
    """
    terminal = os.dup(2)
    _silence(2)
    try:
        resource_tracker.ensure_running()
        with suppress(ImportError):
            import_module("joblib.externals.loky.backend.resource_tracker").ensure_running()
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _silence(*descriptors: int) -> None:
    """Redirect terminal output of this process and its children to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
