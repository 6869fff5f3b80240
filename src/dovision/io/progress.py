"""Progress of this process: bars of rich on a terminal and in a notebook, lines in the log elsewhere."""

from __future__ import annotations

import importlib
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from threading import Event, Thread
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

log = logging.getLogger(__name__)
PERIOD, DRAWING = 30.0, 0.5  # seconds between lines without a terminal, and between pictures in a notebook


class Stage:
    """Row of the display."""

    def __init__(self, progress: Progress, name: str, unit: str, total: float | None, done: float) -> None:
        self._progress = progress
        self.row = progress.add_task(name, total=total, completed=done, unit=unit, failed=0)  # type: ignore[arg-type]
        self.advance(0)  # the rate is measured from now on, without what was done before

    def advance(self, count: float = 1) -> None:
        """Add to the count."""
        self._progress.advance(self.row, count)

    def update(self, **values: Any) -> None:
        """Change what the row shows: arguments of `Progress.update`, and `failed`, a part of the count."""
        self._progress.update(self.row, **values)

    def text(self) -> str:
        """Count, times and failures as the row has them."""
        return count_text(next(task for task in self._progress.tasks if task.id == self.row))


class Display:
    """Rows of nested or simultaneous stages, such as a sweep, its job, and what is measured; outermost first.

    On a terminal they are bars below the log. Elsewhere, in workers of a launcher and in the command that waits for
    them, they are a line of the log every 30 s.

    Attributes:
        in_sweep: what its jobs log stands in their run.log, and `in_console` leaves it out.
    """

    in_sweep = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._progress: Progress | None = None  # while there is a stage
        self._job: tuple[str, list[str], Stage] | None = None  # name, steps and row
        self._shows = ContextVar("shows", default=(True, True))  # bars, lines; of each thread
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Disable the display in a fork, such as a loader's worker: its locks may be held by threads that it lacks."""
        self._progress = self._job = None
        self.silence()
        sys.stdout = _file(sys.stdout)
        sys.stderr = _file(sys.stderr)
        _redirect_log()

    @contextmanager
    def stage(self, name: str, unit: str, total: float | None = None, done: float = 0) -> Iterator[Stage]:
        """Show a stage within the block, counted by its `advance`.

        Args:
            name: of the row.
            unit: of the count.
            total: None if it is not known.
            done: before, such as by a run that is resumed.
        """
        with self._shown() as progress:
            stage = Stage(progress, name, unit, total, done)
            try:
                yield stage
            finally:
                if stage.row in progress.task_ids:  # that of a stage left in a job went with it
                    progress.remove_task(stage.row)

    @contextmanager
    def job(self, steps: Sequence[str], name: str = "") -> Iterator[None]:
        """Show the current step of a job within the block; `step` sets it."""
        title = f"job {name}".rstrip()
        with self._shown() as progress, self.stage(title, "steps", len(steps)) as stage:
            self._job = title, list(steps), stage
            self.step(steps[0])
            try:
                yield
            finally:
                self._job = None
                for row in progress.task_ids:  # of stages that an exception has left
                    if row > stage.row:
                        progress.remove_task(row)

    def step(self, name: str) -> None:
        """Begin this step of the job, if one is shown."""
        if self._job is not None and self._progress is not None:
            title, steps, stage = self._job
            self._progress.reset(stage.row, completed=steps.index(name), description=f"{title}, {name}")

    def track(self, items: Iterable[Any], name: str, unit: str, total: int) -> Iterator[Any]:
        """Yield the items, counting them in a stage."""
        with self.stage(name, unit, total) as stage:
            for item in items:
                yield item
                stage.advance()

    def silence(self, lines: bool = False) -> None:
        """Disable bars, which several processes cannot draw, and without `lines` all, for what this thread begins."""
        self._shows.set((False, lines and self._shows.get()[1]))

    @contextmanager
    def silenced(self, lines: bool = False) -> Iterator[None]:
        """Do that for what begins in the block."""
        token = self._shows.set((False, lines and self._shows.get()[1]))
        try:
            yield
        finally:
            self._shows.reset(token)

    def line(self) -> str:
        """Rows whose count is not complete, as a line of the log."""
        tasks = self._progress.tasks if self._progress is not None else []
        return " | ".join(f"{task.description}: {count_text(task)}" for task in tasks if not task.finished)

    @contextmanager
    def _shown(self) -> Iterator[Progress]:
        """Start the display with the first stage, and end it with that one."""
        if not any(shows := self._shows.get()):
            yield Progress(disable=True)
            return
        if self._progress is not None:
            yield self._progress
            return
        console = Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)
        in_notebook = shows[0] and console.is_jupyter
        on_terminal = shows[0] and sys.stderr.isatty() and console.is_interactive
        on_terminal = on_terminal and "JPY_PARENT_PID" not in os.environ  # as of a command in a notebook's cell
        progress = self._progress = Progress(
            "{task.description}",
            BarColumn(bar_width=None),
            _Count(),
            console=console,
            disable=not on_terminal,
            expand=True,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # a file gets its lines as they are
            refresh_per_second=4,
            speed_estimate_period=math.inf,  # a job of a sweep may take hours
            get_time=self._clock,
        )
        end = Event()
        thread = Thread(target=self._draw if in_notebook else self._log, args=(progress, end), daemon=True)
        if not on_terminal:
            thread.start()
        try:
            with progress:
                _redirect_log()
                yield progress
        finally:
            self._progress = None
            _redirect_log()
            end.set()
            if not on_terminal:
                thread.join()

    def _log(self, progress: Progress, end: Event) -> None:
        while not end.wait(PERIOD):
            if line := self.line():
                log.info("%s", line)

    @staticmethod
    def _draw(progress: Progress, end: Event) -> None:
        handle = importlib.import_module("IPython.display").DisplayHandle()
        handle.display(progress)
        while not end.wait(DRAWING):
            handle.update(progress)
        handle.update({"text/plain": ""}, raw=True)


def _redirect_log() -> None:
    """Let the log write to standard error as it is now: while there are bars, to rich, which keeps them below."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and _file(handler.stream) is _file(sys.stderr):
            handler.stream = sys.stderr


def _file(stream: TextIO) -> TextIO:
    return getattr(stream, "rich_proxied_file", stream)


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(count_text(task), justify="right")


def count_text(task: Task) -> str:
    """Count of a row, seconds since it began, and the time left once it is known."""
    total = "" if task.total is None else f"/{task.total:,.0f}"
    failed = f", {task.fields['failed']} failed" if task.fields["failed"] else ""
    left = f", {timedelta(seconds=task.time_remaining)} left" if task.time_remaining else ""
    elapsed = timedelta(seconds=int(task.elapsed or 0))
    return f"{task.completed:,.0f}{total} {task.fields['unit']}{failed} in {elapsed}{left}"


DISPLAY = Display()


def in_console(record: logging.LogRecord) -> bool:
    """Return whether a command shows a message: of a sweep's jobs in this process progress and warnings alone."""
    return not DISPLAY.in_sweep or record.levelno >= logging.WARNING or record.name == __name__
