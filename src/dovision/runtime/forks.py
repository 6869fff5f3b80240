"""Copies of this process that call a function in the state of the moment at which they were made."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch
from threadpoolctl import threadpool_limits

from dovision import checks

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl
_function: Callable[..., Any]  # of a copy


def check_workers(name: str, workers: int, device: str = "cpu") -> int:
    """Return a number of processes if this system can make them, for work on this type of device.

    Raises:
        ValueError: it cannot be copied.
    """
    if checks.positive_int(name, workers) == 1:
        return workers
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ValueError(f"{name} needs a system that can copy a process, such as Linux, got {workers}. Set {name}=1.")
    if device != "cpu":
        raise ValueError(f"{name} shares processors, got {workers} for the device {device}. Set {name}=1.")
    return workers


class Forks(Generic[_T]):
    """A pool of copies of this process, made at the first call; nothing but arguments and results is sent.

    They share torch's threads, leave signals to this process, and end with it. To be used in a `with`, at whose end
    they are gone; after an exception at once.

    Args:
        function: what they call; what it changes stays in its copy.
        workers: how many, at least 1.

    Raises:
        ValueError: see `check_workers`.
    """

    def __init__(self, function: Callable[..., _T], workers: int) -> None:
        self.workers = check_workers("workers", workers)
        threads = max(torch.get_num_threads() // workers, 1)
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("fork"), initializer=_begin, initargs=(function, threads)
        )

    def __enter__(self) -> Forks[_T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = list((self._pool._processes or {}).values())  # none after the shutdown
        if error is not None:  # nobody waits for what they are at
            for process in processes:
                process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, *arguments: Any) -> Future[bytes]:
        """Call the function with these arguments in the next copy that is free; `result_of` waits for it."""
        return self._pool.submit(_call, pickle.dumps(arguments))  # as bytes, so that no tensor takes shared memory


def result_of(future: Future[bytes]) -> Any:
    """What the function has returned; what it has raised is raised again."""
    return pickle.loads(future.result())


def forked_map(function: Callable[[_Item], _T], items: Sequence[_Item], workers: int) -> Iterator[_T]:
    """The results of a function, in the order of the items, computed by copies of this process if workers are several.

    Neither the function nor the items are sent, only results.
    """
    if min(workers, len(items)) < 2:
        yield from map(function, items)
        return
    with Forks(lambda number: function(items[number]), min(workers, len(items))) as forks:
        for future in [forks.submit(number) for number in range(len(items))]:
            yield result_of(future)


def _begin(function: Callable[..., Any], threads: int) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":  # not to outlive a parent that was killed
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    threadpool_limits(threads)  # of all libraries: a pool of threads does not live on in a copy
    torch.set_num_threads(threads)


def _call(arguments: bytes) -> bytes:
    return pickle.dumps(_function(*pickle.loads(arguments)))
