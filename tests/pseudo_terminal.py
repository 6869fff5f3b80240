"""A screen of a terminal, of which it knows what the display of progress needs, to see what a user sees."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

from waiting import SECONDS

_DRAWN = "\x1b8"  # ends a drawing of the bars: the cursor is where it was
_TOKEN = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|\x1b([78D])|(\r)|(\n)|(.)", re.DOTALL)


class Screen:
    """Lines of text and a cursor, with a scrolling region."""

    def __init__(self, lines: int, columns: int) -> None:
        self.lines, self.columns = lines, columns
        self.rows = [[" "] * columns for _ in range(lines)]
        self.gone: list[str] = []  # lines that have scrolled off the top
        self.row = self.column = 0
        self.bottom = lines - 1
        self.saved = (0, 0)

    def feed(self, text: str) -> Screen:
        for numbers, command, single, carriage, feed, letter in _TOKEN.findall(text):
            if command:
                getattr(self, f"csi_{command}")([int(n) for n in numbers.split(";") if n])
            elif single == "7":
                self.saved = self.row, self.column
            elif single == "8":
                self.row, self.column = self.saved
            elif carriage:
                self.column = 0
            elif feed or single == "D":
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
        if self.row == self.bottom:
            self.gone.append("".join(self.rows.pop(0)).rstrip())
            self.rows.insert(self.bottom, [" "] * self.columns)
        else:
            self.row = min(self.row + 1, self.lines - 1)

    def csi_m(self, numbers: list[int]) -> None:
        """Colours are not seen."""

    def csi_A(self, numbers: list[int]) -> None:
        self.row = max(0, self.row - (numbers or [1])[0])

    def csi_H(self, numbers: list[int]) -> None:
        self.row, self.column = (number - 1 for number in numbers or [1, 1])

    def csi_r(self, numbers: list[int]) -> None:
        self.bottom = (numbers or [1, self.lines])[1] - 1
        self.row = self.column = 0

    def csi_K(self, numbers: list[int]) -> None:
        self.rows[self.row][self.column :] = [" "] * (self.columns - self.column)

    def csi_J(self, numbers: list[int]) -> None:
        self.csi_K([])
        for row in range(self.row + 1, self.lines):
            self.rows[row] = [" "] * self.columns


class Terminal:
    """A pseudo terminal: `stream` is what a process writes to, `screen` what has come of it so far."""

    def __init__(self, stream: TextIOWrapper, receiver: int, lines: int, columns: int) -> None:
        self.stream, self.receiver = stream, receiver
        self.received = ""
        self._size = lines, columns
        self._decode = codecs.getincrementaldecoder("utf-8")().decode  # a letter may come in two pieces
        self._seen, self._length = Screen(lines, columns), 0  # what `wait_for` has looked at

    def read(self) -> None:
        """Take what has come so far, so that the process can write on."""
        with suppress(BlockingIOError):
            while data := os.read(self.receiver, 65536):
                self.received += self._decode(data)

    def screen(self) -> Screen:
        self.read()
        return Screen(*self._size).feed(self.received)

    def wait_for(self, text: str) -> list[str]:
        """Wait until the last line has had this text, and return all lines of that moment, however long it is gone."""
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            self.read()
            while (end := self.received.find(_DRAWN, self._length) + len(_DRAWN)) >= len(_DRAWN):
                self._seen.feed(self.received[self._length : end])
                self._length = end
                if text in self._seen.text()[-1]:
                    return self._seen.text()
            time.sleep(0.02)
        raise AssertionError(f"{text!r} was not shown; the screen: {self.screen().text()}")


@contextmanager
def terminal(lines: int = 24, columns: int = 80) -> Iterator[Terminal]:
    """A pseudo terminal of this size."""
    receiver, sender = pty.openpty()
    fcntl.ioctl(sender, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.set_blocking(receiver, False)
    with open(sender, "w", buffering=1, encoding="utf-8") as stream:
        yield Terminal(stream, receiver, lines, columns)
    os.close(receiver)
