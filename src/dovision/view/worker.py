"""Worker thread: answers that a user waits for come first, long work goes on a step at a time between."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
_LONGEST = 600.0  # seconds of a question


class Overtaken(Exception):
    """Superseded by a newer request of the same topic."""


class _Question(NamedTuple):
    answer: Callable[[], Any]
    future: Future[Any]
    topic: str
    number: int  # among the questions of its topic


class Worker:
    """Thread that answers requests immediately, in order, and runs background work in between.

    Networks have hooks and modes, so that one thread uses them. A step of background work should be short, and a long
    question calls `check` now and then.
    """

    def __init__(self) -> None:
        self._questions: queue.Queue[_Question | None] = queue.Queue()
        self._newest: Counter[str] = Counter()  # number of the newest question, by topic
        self._lock = threading.Lock()  # of these numbers
        self._current: _Question | None = None
        self._began = 0.0  # when that was
        self._steps: dict[str, Iterator[Any]] = {}
        self._thread = threading.Thread(target=self._run, name="dovision-view", daemon=True)
        self._thread.start()

    def ask(self, question: Callable[[], Answer], topic: str = "") -> Answer:
        """Run a function in the worker's thread; return its result or raise its error.

        Args:
            question: the function.
            topic: of which only the newest question is answered; "" for none.

        Raises:
            Overtaken: another of the topic was asked before this one was answered.
        """
        future: Future[Answer] = Future()
        self._questions.put(_Question(question, future, topic, self.overtake(topic) if topic else 0))
        return future.result()

    def overtake(self, topic: str) -> int:
        """End unanswered requests of a topic; return the number of the next one."""
        with self._lock:
            self._newest[topic] += 1
            return self._newest[topic]

    def check(self) -> None:
        """End a long question that nobody waits for; called in the worker's thread.

        Raises:
            Overtaken: another of its topic was asked since.
            TimeoutError: it was begun too long ago.
        """
        if (current := self._current) is None:
            return
        with self._lock:
            if current.topic and current.number != self._newest[current.topic]:
                raise Overtaken
        if time.monotonic() - self._began > _LONGEST:
            raise TimeoutError(f"an answer must take at most {_LONGEST:g} seconds. Ask for fewer steps.")

    def begin(self, name: str, steps: Iterator[Any]) -> None:
        """Iterate in the background, replacing earlier work of this name; call through `ask`.

        The work begun last goes first. An error ends it, with a line in the log.
        """
        self._steps.pop(name, None)
        self._steps[name] = steps

    def close(self) -> None:
        """End the thread after the pending requests."""
        self._questions.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                question = self._questions.get(block=not self._steps)
            except queue.Empty:
                self._step()
                continue
            if question is None:
                return
            self._current, self._began = question, time.monotonic()
            try:
                self.check()
                question.future.set_result(question.answer())
            except BaseException as error:  # handed on to the thread that has asked
                question.future.set_exception(error)
            self._current = None

    def _step(self) -> None:
        name, steps = next(reversed(self._steps.items()))
        try:
            next(steps)
        except StopIteration:
            self._steps.pop(name, None)
        except Exception:
            log.exception("background work %s has failed", name)
            self._steps.pop(name, None)
