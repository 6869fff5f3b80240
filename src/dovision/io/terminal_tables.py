"""Tables on standard error: with colours on a terminal and cut to its size, plain and whole elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_STYLES = {
    "completed": "green",
    "running": "cyan",
    **dict.fromkeys(("partial", "outdated", "interrupted"), "yellow"),
    **dict.fromkeys(("failed", "damaged"), "red"),
    "missing": "dim",
}
_WIDE = 1000  # columns where there is no terminal
_AROUND = 8  # lines of a terminal for what stands around tables


class TextTable(NamedTuple):
    """Table of text: heads, rows, and the number of leading name columns; the others hold numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def print_table(table: TextTable) -> None:
    """Print a table; a terminal gets as many rows as it has room for, with cells that are wrapped to its width."""
    console = _console()
    most = max(console.height - _AROUND, 3) if console.is_terminal else None
    console.print(_rich(table._replace(rows=table.rows[:most]), console))
    if more := len(table.rows[most:]) if most else 0:
        console.print(f"and {more} more rows")


def print_states(text: str) -> None:
    """Print text with the names of states in colour."""
    styled = Text(text)
    for state, style in _STYLES.items():
        styled.highlight_words([state], style)
    _console().print(styled, soft_wrap=True)


def _console() -> Console:
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)


def _rich(layout: TextTable, console: Console) -> Table:
    box, space = (SIMPLE_HEAD, 1) if console.is_terminal else (None, 2)
    table = Table(box=box, pad_edge=False, padding=(0, space, 0, 0))
    for number, head in enumerate(layout.heads):
        table.add_column(Text(head), justify="left" if number < layout.names else "right")
    for row in layout.rows:
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
    return table
