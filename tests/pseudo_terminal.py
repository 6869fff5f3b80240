"""A screen of a terminal, of which it knows what the display of progress needs, to see what a user sees."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

import pytest

from waiting import wait_for

_TOKEN = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|(\r)|(\n)|(.)", re.DOTALL)


class Screen:
    """Lines of text and a cursor, that may be hidden."""

    def __init__(self, lines: int, columns: int) -> None:
        self.lines, self.columns = lines, columns
        self.rows = [[" "] * columns for _ in range(lines)]
        self.row = self.column = 0
        self.cursor = True

    def feed(self, text: str) -> Screen:
        for numbers, command, carriage, feed, letter in _TOKEN.findall(text):
            if command:
                getattr(self, f"csi_{command}")([int(n) for n in numbers.split(";") if n])
            elif carriage:
                self.column = 0
            elif feed:
                self.down()
            else:
                self.put(letter)
        return self

    def text(self) -> list[str]:
        return ["".join(row).rstrip() for row in self.rows]

    def put(self, letter: str) -> None:
        if self.column == self.columns:
            self.column = 0
            self.down()
        self.rows[self.row][self.column] = letter
        self.column += 1

    def down(self) -> None:
        if self.row == self.lines - 1:
            self.rows = [*self.rows[1:], [" "] * self.columns]
        else:
            self.row += 1

    def csi_m(self, numbers: list[int]) -> None:
        """Colours are not seen."""

    def csi_A(self, numbers: list[int]) -> None:
        self.row = max(0, self.row - (numbers or [1])[0])

    def csi_K(self, numbers: list[int]) -> None:
        assert numbers == [2], "of the whole line"
        self.rows[self.row] = [" "] * self.columns

    def csi_l(self, numbers: list[int]) -> None:
        self.cursor = False

    def csi_h(self, numbers: list[int]) -> None:
        self.cursor = True


class Terminal:
    """A pseudo terminal: `stream` is what a process writes to, `screen` what has come of it so far."""

    def __init__(self, stream: TextIOWrapper, receiver: int, lines: int, columns: int) -> None:
        self.stream, self.receiver = stream, receiver
        self.received = ""
        self._size = lines, columns
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a letter may come in two pieces

    def read(self) -> None:
        """Take what has come so far, so that the process can write on."""
        with suppress(BlockingIOError):
            while data := os.read(self.receiver, 65536):
                self.received += self._decode(data)

    def screen(self) -> Screen:
        self.read()
        return Screen(*self._size).feed(self.received)

    def wait_for(self, text: str) -> None:
        """Wait until this text, without its colours, has come, however long it is gone."""

        def has_come() -> bool:
            self.read()
            return text in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", self.received)

        wait_for(has_come)


@contextmanager
def terminal(patch: pytest.MonkeyPatch, lines: int = 24, columns: int = 80) -> Iterator[Terminal]:
    """A pseudo terminal of this size as standard error."""
    for name, value in {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(lines)}.items():
        patch.setenv(name, value)
    for name in ("JPY_PARENT_PID", "NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        patch.delenv(name, raising=False)
    receiver, sender = pty.openpty()
    fcntl.ioctl(sender, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.set_blocking(receiver, False)
    with open(sender, "w", buffering=1, encoding="utf-8") as stream:
        patch.setattr(sys, "stderr", stream)
        yield Terminal(stream, receiver, lines, columns)
    os.close(receiver)
