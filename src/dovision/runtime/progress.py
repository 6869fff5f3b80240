"""The display of progress of this process: sweep, job and stages, as bars on a terminal and as log lines elsewhere.

The bars are not those of rich.progress, which moves the cursor over its own lines: what a worker or a library prints
past its console leaves copies of the bars above, and writes over the last one.
"""

from __future__ import annotations

import atexit
import importlib
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, TextIO, TypeVar

from dovision.runtime.stage import Bar, Stage, Steps, left_text

if TYPE_CHECKING:  # what only a terminal needs is imported there
    from rich.console import Console
    from rich.table import Table

log = logging.getLogger(__name__)
LINE_PERIOD, LONG = 5.0, 600.0  # seconds between the lines of a stage without a terminal; six times that after so long
_LOOK, _DRAW = 1.0, 0.1  # seconds between looks: the most, without a terminal, and the least, on one
_SHARE = 100  # drawing is to take at most one part in so many of the time
_T = TypeVar("_T")
_SAVE, _RESTORE = "\x1b7", "\x1b8"  # the cursor
_WHOLE_SCREEN = "\x1b[r"  # scrolls; moves the cursor
_ERASE_BELOW, _ERASE_REST = "\x1b[J", "\x1b[K"  # of the screen, of the line
_DOWN = "\x1bD"  # in the same column; scrolls at the bottom
_LEAST_LINES, _LEAST_COLUMNS = 10, 40  # of a terminal that has bars
_NOTEBOOK_COLUMNS = 96


class Display:
    """Progress of a sweep, its current job, and the stages of that job, outermost first.

    On a terminal each has a bar at the bottom. The time left stands in the row of the outermost of which it is known.
    Elsewhere a stage logs a line every 5 s, later 30 s. Workers of a launcher have no bars; the sweep's process does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bars_allowed = self._lines_allowed = True
        self._reset()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def _reset(self) -> None:
        self._lock = RLock()
        self._sweep: Stage | None = None
        self._steps: Steps | None = None
        self._stages: list[Stage] = []
        self._bars: Bars | None = None
        self._over: Event | None = None  # ends the thread that draws

    def _forget(self) -> None:
        """Disable the display in a fork, such as a loader's worker: it lacks the thread and may hold its lock."""
        self._reset()
        self.silence()

    @contextmanager
    def sweep(self, total: int, done: int) -> Iterator[Stage]:
        """Show the number of ended jobs within the block."""
        with self._shown():
            self._sweep = Stage("sweep", "jobs", total, done, self._clock())
            try:
                yield self._sweep
            finally:
                self._sweep = None

    @contextmanager
    def job(self, steps: Sequence[str], name: str = "") -> Iterator[None]:
        """Show the current step of a job within the block; `step` sets it."""
        with self._shown():
            self._steps = Steps(name, steps, self._clock())
            try:
                yield
            finally:
                self._steps = None
                self._stages.clear()  # those that an exception has left

    def step(self, name: str) -> None:
        """Begin this step of the job, if one is shown."""
        if self._steps is not None:
            self._steps.go_to(name, self._clock())

    @contextmanager
    def stage(self, name: str, unit: str, total: float | None = None, done: float = 0) -> Iterator[Stage]:
        """Show a stage within the block, counted by its `advance`; arguments as of `Stage`."""
        stage = Stage(name, unit, total, done, self._clock())
        with self._shown() as shows:
            if shows:
                self._stages.append(stage)
            try:
                yield stage
            finally:
                if stage in self._stages:
                    self._stages.remove(stage)

    def track(self, items: Iterable[_T], name: str, unit: str, total: int) -> Iterator[_T]:
        """Yield the items, counting them in a stage."""
        with self.stage(name, unit, total) as stage:
            for item in items:
                yield item
                stage.advance()

    @property
    def has_bars(self) -> bool:
        """Return whether progress is shown as bars on a terminal, not as lines in the log."""
        return self._bars is not None

    def as_worker(self) -> None:
        """Disable bars and terminal logs: the launching process shows the progress of jobs."""
        self._bars_allowed, self._lines_allowed = False, not sys.stderr.isatty()

    def silence(self) -> None:
        """Disable the display."""
        self._bars_allowed = self._lines_allowed = False

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Disable the display for what begins in the block."""
        before = self._bars_allowed, self._lines_allowed
        self.silence()
        try:
            yield
        finally:
            self._bars_allowed, self._lines_allowed = before

    def close(self) -> None:
        """Remove the bars from the terminal."""
        with self._lock:
            if self._over is not None:
                self._over.set()
                self._over = None
            if self._bars is not None:
                self._bars.clear()
                self._bars = None

    @contextmanager
    def _shown(self) -> Iterator[bool]:
        """Start the display's thread at the first stage and end it after the last; yields whether it is enabled."""
        with self._lock:
            shows = self._bars_allowed or self._lines_allowed
            is_first = self._over is None and shows
            if is_first:
                self._over = Event()
                self._bars = _bars() if self._bars_allowed else None
                Thread(target=self._show, args=(self._over,), daemon=True).start()
        try:
            yield shows
        finally:
            if is_first:
                self.close()

    def _show(self, over: Event) -> None:
        pause = _DRAW
        while not over.wait(pause):
            with self._lock:
                if over.is_set():
                    return
                pause = self.look()

    def look(self) -> float:
        """Measure progress and draw or log it if due; returns the seconds until the next look."""
        began, now = time.perf_counter(), self._clock()
        for stage in (*filter(None, [self._sweep]), *self._stages):
            stage.measure(now)
        if self._bars is None:
            self._log(now)
            return _LOOK
        self._bars.draw(self.rows(now))
        return min(_LOOK, max(_DRAW, _SHARE * (time.perf_counter() - began)))

    def _log(self, now: float) -> None:
        steps, stages = self._steps, [stage for stage in self._stages if not stage.is_done]
        for shown in stages or filter(None, [steps]):
            period = LINE_PERIOD if now - shown.began < LONG else 6 * LINE_PERIOD
            if now - shown.reported >= period - _LOOK:
                shown.reported = now
                log.info("%s%s", f"{steps.job}: " if steps and steps.job else "", shown.line(now))

    def rows(self, now: float) -> list[Bar]:
        """Rows of the terminal; the outermost row with a known remaining time shows it."""
        steps, stages = self._steps, list(self._stages)
        times = {stage: stage.left(now) for stage in (*filter(None, [self._sweep]), *stages)}
        left = max((time for stage in stages if (time := times[stage]) is not None), default=None)
        shown = [(self._sweep.bar, times[self._sweep])] if self._sweep else []
        if steps:
            share = next((stage.share for stage in stages), None)
            shown += [(partial(steps.bar, share), left if steps.are_nearly_done else None)]
        shown += [(stage.bar, left) for stage in stages]
        first = next((number for number, (_, time) in enumerate(shown) if time is not None), 0)
        return [bar(left_text(time) if number == first else "") for number, (bar, time) in enumerate(shown)]


def has_bars(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with a movable cursor; the output of a notebook's cell is not."""
    if not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb", "unknown") or "JPY_PARENT_PID" in os.environ:
        return False
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return False
    return lines >= _LEAST_LINES and columns >= _LEAST_COLUMNS


def _bars() -> Bars | None:
    """Bars of this process's terminal or notebook; None where it has neither."""
    if has_bars(sys.stderr):
        return Bars(sys.stderr)
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return None if getattr(shell, "kernel", None) is None else NotebookBars()


class Bars:
    """Progress bars at the bottom of a terminal, below the scrolling lines.

    The terminal itself keeps lines and bars apart (its scrolling region, DECSTBM), so that no stream is replaced: what
    this process, its libraries, its forks or other processes print is a line above the bars, and the cursor is theirs.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._placed = (0, 0)  # bars, and lines of the terminal then
        self._drawn: list[str] = []

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=self._stream, force_terminal=True, force_jupyter=False, highlight=False)

    def draw(self, bars: Sequence[Bar]) -> None:
        """Draw these bars; in a small terminal the last ones."""
        columns, lines = os.get_terminal_size(self._stream.fileno())
        rows = self._rendered(bars, columns - 1)[-(lines // 2) :]
        placed = len(rows), lines
        if (rows, placed) == (self._drawn, self._placed):
            return
        room = "" if placed == self._placed else self._room(len(rows))
        above = lines - len(rows)
        drawn = "".join(f"\x1b[{above + number};1H{row}{_ERASE_REST}" for number, row in enumerate(rows, 1))
        self._write(f"{room}{_SAVE}\x1b[1;{above}r{drawn}{_RESTORE}")
        self._placed, self._drawn = placed, rows

    def clear(self) -> None:
        """Remove the bars, and let the whole screen scroll again."""
        if self._placed != (0, 0):
            self._write(self._room(0))
        self._placed, self._drawn = (0, 0), []

    @staticmethod
    def _room(count: int) -> str:
        """Erase the bars, and move the cursor so that this many lines are below it."""
        return f"{_SAVE}{_WHOLE_SCREEN}{_RESTORE}{_ERASE_BELOW}" + (f"{_DOWN * count}\x1b[{count}A" if count else "")

    def _rendered(self, bars: Sequence[Bar], width: int) -> list[str]:
        with self._console.capture() as captured:
            self._console.print(_table(bars, width), width=width)
        return captured.get().splitlines()

    def _write(self, text: str) -> None:
        """Write in one call, so that the output of other processes cannot be interleaved."""
        with suppress(OSError):  # such as that of a terminal that was closed
            os.write(self._stream.fileno(), text.encode(self._console.encoding, "replace"))


class NotebookBars(Bars):
    """Progress bars as lines of text in the output of a notebook's cell, which go when all is done."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self._display = importlib.import_module("IPython.display").DisplayHandle()

    def draw(self, bars: Sequence[Bar]) -> None:
        rows = self._rendered(bars, _NOTEBOOK_COLUMNS)
        if rows != self._drawn:
            show = self._display.update if self._drawn else self._display.display
            show({"text/plain": "\n".join(rows)}, raw=True)
        self._drawn = rows

    def clear(self) -> None:
        if self._drawn:
            self._display.update({"text/plain": ""}, raw=True)


def _table(bars: Sequence[Bar], width: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Column, Table
    from rich.text import Text

    name = Column(no_wrap=True, overflow="ellipsis", max_width=width // 4)
    texts = [Column(no_wrap=True, overflow="ellipsis", justify="right") for _ in range(3)]
    columns = name, Column(ratio=1, min_width=8), *texts
    table = Table(*columns, box=None, show_header=False, expand=True, padding=(0, 2, 0, 0), pad_edge=False)
    for bar in bars:
        drawn = "" if bar.share is None else ProgressBar(1.0, bar.share, complete_style="cyan", finished_style="cyan")
        amount = Text(bar.amount)
        if bar.failed:
            amount.append(f", {bar.failed} failed", style="red")
        table.add_row(bar.name, drawn, amount, bar.rate, bar.left)
    return table


DISPLAY = Display()
