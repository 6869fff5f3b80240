"""One thread that computes: answers that a user waits for come first, long work goes on a step at a time between."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Worker:
    """Runs questions at once, in their order, and background work between them.

    Networks have hooks and modes, so that one thread uses them. A step of background work should be short.
    """

    def __init__(self) -> None:
        self._asked: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        self._steps: dict[str, Iterator[Any]] = {}
        self._thread = threading.Thread(target=self._run, name="dovision-view", daemon=True)
        self._thread.start()

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """The answer of a function that is run in the worker's thread; raises what it raises."""
        future: Future[Answer] = Future()
        self._asked.put((question, future))
        return future.result()

    def begin(self, name: str, steps: Iterator[Any]) -> None:
        """Go through an iterator in the background, in place of what was begun under this name; to be asked for.

        An error ends it, with a line in the log.
        """
        self._steps[name] = steps

    def close(self) -> None:
        """End the thread after what was asked for so far."""
        self._asked.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                asked = self._asked.get(block=not self._steps)
            except queue.Empty:
                self._step()
                continue
            if asked is None:
                return
            question, future = asked
            try:
                future.set_result(question())
            except BaseException as error:  # handed on to the thread that has asked
                future.set_exception(error)

    def _step(self) -> None:
        name, steps = next(iter(self._steps.items()))
        try:
            next(steps)
        except StopIteration:
            self._steps.pop(name, None)
        except Exception:
            log.exception("background work %s has failed", name)
            self._steps.pop(name, None)
