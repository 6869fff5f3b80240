"""Bars at the bottom of a terminal, above which everything else scrolls, whoever prints it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:  # what only a terminal needs is imported there
    from rich.console import Console
    from rich.table import Table

_SAVE, _RESTORE = "\x1b7", "\x1b8"  # the cursor
_WHOLE_SCREEN = "\x1b[r"  # scrolls; moves the cursor
_ERASE_BELOW, _ERASE_REST = "\x1b[J", "\x1b[K"  # of the screen, of the line
_DOWN = "\x1bD"  # in the same column; scrolls at the bottom
_LEAST_LINES, _LEAST_COLUMNS = 10, 40  # of a terminal that has bars


class Bar(NamedTuple):
    """A row: what is done, the share that is done (None: unknown), and facts as text."""

    name: str
    share: float | None
    amount: str  # done, of how much
    failed: int = 0  # of the amount
    rate: str = ""
    left: str = ""


def has_bars(stream: TextIO) -> bool:
    """Whether a stream is a terminal in which the cursor moves; the output of a notebook's cell is none."""
    if not stream.isatty() or os.environ.get("TERM", "") in ("", "dumb", "unknown") or "JPY_PARENT_PID" in os.environ:
        return False
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return False
    return lines >= _LEAST_LINES and columns >= _LEAST_COLUMNS


class Bars:
    """Bars that stay at the bottom of a terminal while the lines above them scroll.

    The terminal itself keeps lines and bars apart (its scrolling region, DECSTBM), so that no stream is replaced: what
    this process, its libraries, its forks or other processes print is a line above the bars, and the cursor is theirs.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._placed = (0, 0)  # bars, and lines of the terminal then
        self._drawn: list[str] = []

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=self._stream, force_terminal=True, highlight=False)

    def draw(self, bars: Sequence[Bar]) -> None:
        """Show these bars; in a small terminal the last ones."""
        columns, lines = os.get_terminal_size(self._stream.fileno())
        rows = self._rendered(bars, columns - 1)[-(lines // 2) :]
        placed = len(rows), lines
        if (rows, placed) == (self._drawn, self._placed):
            return
        room = "" if placed == self._placed else self._room(len(rows))
        above = lines - len(rows)
        own = "".join(f"\x1b[{above + number};1H{row}{_ERASE_REST}" for number, row in enumerate(rows, 1))
        self._write(f"{room}{_SAVE}\x1b[1;{above}r{own}{_RESTORE}")
        self._placed, self._drawn = placed, rows

    def clear(self) -> None:
        """Remove the bars, and let the whole screen scroll again."""
        if self._placed != (0, 0):
            self._write(self._room(0))
        self._placed, self._drawn = (0, 0), []

    @staticmethod
    def _room(count: int) -> str:
        """Erase the bars, and bring the cursor to where so many lines are below it."""
        return f"{_SAVE}{_WHOLE_SCREEN}{_RESTORE}{_ERASE_BELOW}" + (f"{_DOWN * count}\x1b[{count}A" if count else "")

    def _rendered(self, bars: Sequence[Bar], width: int) -> list[str]:
        with self._console.capture() as captured:
            self._console.print(_table(bars, width), width=width)
        return captured.get().splitlines()

    def _write(self, text: str) -> None:
        """In one piece, so that no other process writes in the middle of it."""
        with suppress(OSError):  # such as that of a terminal that was closed
            os.write(self._stream.fileno(), text.encode(self._console.encoding, "replace"))


def _table(bars: Sequence[Bar], width: int) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Column, Table
    from rich.text import Text

    name = Column(no_wrap=True, overflow="ellipsis", max_width=width // 4)
    facts = [Column(no_wrap=True, overflow="ellipsis", justify="right") for _ in range(3)]
    columns = name, Column(ratio=1, min_width=8), *facts
    table = Table(*columns, box=None, show_header=False, expand=True, padding=(0, 2, 0, 0), pad_edge=False)
    for bar in bars:
        drawn = "" if bar.share is None else ProgressBar(1.0, bar.share, complete_style="cyan", finished_style="cyan")
        amount = Text(bar.amount)
        if bar.failed:
            amount.append(f", {bar.failed} failed", style="red")
        table.add_row(bar.name, drawn, amount, bar.rate, bar.left)
    return table
