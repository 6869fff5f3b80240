"""Copies of this process that call a function in the state of the moment at which they were made."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch
from threadpoolctl import threadpool_limits

from dovision import checks

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_LOOK = 1.0  # seconds after which a copy looks whether its parent is there
_function: Callable[..., Any]  # of a copy
_calls: list[bool] = []  # of a copy: the one that runs
_state = threading.Lock()  # of `_calls`


def check_workers(name: str, workers: int, device: str = "cpu") -> int:
    """Return the number of worker processes if this system can fork them for this type of device.

    Raises:
        ValueError: it cannot be copied.
    """
    if checks.positive_int(name, workers) == 1:
        return workers
    if "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":  # whose libraries forbid it
        raise ValueError(f"{name} needs a system that can copy a process, such as Linux, got {workers}. Set {name}=1.")
    if device != "cpu":
        raise ValueError(f"{name} shares processors, got {workers} for the device {device}. Set {name}=1.")
    return workers


class Forks(Generic[_T]):
    """Pool of forked copies of this process, started at the first call; only arguments and results are sent.

    Each computes with one thread, since OpenMP's threads cannot be started again in a copy, and leaves signals to this
    process. To be used in a `with`, at whose end they are gone, as they are if this process is killed.

    Args:
        function: what they call; what it changes stays in its copy.
        workers: how many, at least 1.

    Raises:
        ValueError: see `check_workers`.
    """

    def __init__(self, function: Callable[..., _T], workers: int) -> None:
        self.workers = check_workers("workers", workers)
        context = multiprocessing.get_context("fork")
        heard, self._end = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(function, os.getpid(), heard))

    def __enter__(self) -> Forks[_T]:
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.send_bytes(b"end")  # also of what is not finished, for which nobody waits any more
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._end.close()

    def submit(self, *arguments: Any) -> Future[bytes]:
        """Call the function with these arguments in the next free worker; `result_of` waits for the result."""
        return self._pool.submit(_call, pickle.dumps(arguments))  # as bytes, so that no tensor takes shared memory


def result_of(future: Future[bytes]) -> Any:
    """Result of a call; raises what the function raised.

    Raises:
        RuntimeError: the copy was killed, or what it raised cannot be sent.
    """
    try:
        return pickle.loads(future.result())
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker was killed, as the system does when memory runs out. Use fewer workers, or smaller batches."
        ) from error


def forked_map(function: Callable[[_Item], _T], items: Sequence[_Item], workers: int) -> Iterator[_T]:
    """Map a function over items, results in order, in forked processes if there are several workers.

    Neither the function nor the items are sent, only results.
    """
    if min(workers, len(items)) < 2:
        yield from map(function, items)
        return
    with Forks(lambda number: function(items[number]), min(workers, len(items))) as forks:
        for future in [forks.submit(number) for number in range(len(items))]:
            yield result_of(future)


def _begin(function: Callable[..., Any], parent: int, heard: Connection) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)  # of all libraries: a pool of threads does not live on in a copy
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent, heard), daemon=True).start()


def _end_with(parent: int, heard: Connection) -> None:
    """End this worker when its parent exits, or on request during a call; never while a result is being sent."""
    while os.getppid() == parent:
        if heard.poll(_LOOK):
            with _state:
                if _calls:
                    break
            time.sleep(_LOOK / 100)
    os._exit(0)


def _call(arguments: bytes) -> bytes:
    with _called():
        try:
            return pickle.dumps(_function(*pickle.loads(arguments)))
        except Exception as error:
            if _can_be_sent(error):
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from None


@contextmanager
def _called() -> Iterator[None]:
    with _state:
        _calls.append(True)
    try:
        yield
    finally:
        with _state:
            _calls.pop()


def _can_be_sent(error: Exception) -> bool:
    """Return whether the parent can rebuild the same error from its pickle."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True
