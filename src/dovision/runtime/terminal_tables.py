"""Tables on standard error: with colours on a terminal and cut to its size, plain and whole elsewhere."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:  # imported where a table is printed
    from rich.console import Console
    from rich.table import Table

STATE_STYLES = {
    "completed": "green",
    "partial": "yellow",
    "outdated": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
    "failed": "red",
    "damaged": "red",
    "skipped": "dim",
    "missing": "dim",
}
_WHOLE = 1000  # columns where there is no terminal
_AROUND = 8  # lines of a terminal for what stands around tables
_HEAD = 12  # letters of a line of a head
_NAME = 9  # letters of a name that are left at least in a narrow terminal


class TextTable(NamedTuple):
    """Table of text: heads, rows, and the number of leading name columns; the others hold numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


class Closing(NamedTuple):
    """Final output of a command: its table, text with coloured states, and the places of its files."""

    table: TextTable | None
    text: str
    files: str

    def print(self) -> None:
        """Print the table and the text on standard error."""
        if self.table is not None:
            print_tables([self.table])
        print_states(self.text)

    def print_files(self) -> None:
        """Print the paths of the written files."""
        if self.files:
            print(self.files, file=sys.stderr)


def print_tables(*tables: Sequence[TextTable]) -> None:
    """Print each table in the first layout that fits the terminal, or else in the last.

    A terminal gets as many rows as have room on it together, and long names cut to its width.
    """
    console = _console()
    most = max((console.height - _AROUND) // len(tables), 3) if console.is_terminal else None
    for layouts in tables:
        fitting = (layout for layout in layouts if _excess(layout, console) <= 0)
        layout = next(fitting, _cut(layouts[-1], console))
        console.print(_rich(layout._replace(rows=layout.rows[:most]), console))
        if more := len(layout.rows[most:]) if most else 0:
            console.print(f"and {more} more rows")


def print_states(text: str) -> None:
    """Print text with the names of states in colour."""
    from rich.text import Text

    styled = Text(text)
    for state, style in STATE_STYLES.items():
        styled.highlight_words([state], style)
    _console().print(styled, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    if not sys.stderr.isatty():
        return Console(stderr=True, highlight=False, width=_WHOLE)
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    return Console(stderr=True, highlight=False, width=columns or None, height=lines or None)


def _excess(layout: TextTable, console: Console) -> int:
    """Columns by which the terminal is too narrow; negative if there is room."""
    from rich.measure import Measurement

    options = console.options.update(width=_WHOLE)
    return Measurement.get(console, options, _rich(layout, console)).maximum - console.width


def _cut(layout: TextTable, console: Console) -> TextTable:
    """Cut the longest names of a table where the terminal is too narrow."""
    widths = [max(map(len, column)) for column in zip(*layout.rows, strict=True)][: layout.names]
    for _ in range(_excess(layout, console)):
        longest = max(range(len(widths)), key=widths.__getitem__)
        widths[longest] = max(widths[longest] - 1, _NAME)
    rows = [[*map(_shortened, row, widths), *row[layout.names :]] for row in layout.rows]
    return layout._replace(rows=rows)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _rich(layout: TextTable, console: Console) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    box, space = (SIMPLE_HEAD, 1) if console.is_terminal else (None, 2)
    table = Table(box=box, pad_edge=False, padding=(0, space, 0, 0))
    for number, head in enumerate(layout.heads):
        longest = max((len(row[number]) for row in layout.rows), default=0)
        lines = textwrap.wrap(head, max(longest, _HEAD), break_long_words=False) if console.is_terminal else [head]
        justify: Literal["left", "right"] = "left" if number < layout.names else "right"
        table.add_column(Text("\n".join(lines)), justify=justify, no_wrap=True)
    for row in layout.rows:
        table.add_row(*(Text(cell, STATE_STYLES.get(cell, "")) for cell in row))
    return table
