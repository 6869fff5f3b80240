"""Files that are whole or not there, also after a power cut: written aside, brought to the disk, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial-"  # followed by a random number, the end of a temporary name; such a file is left by a kill only


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`: renamed to `path` if the block succeeds, removed otherwise."""
    partial = path.with_name(f"{path.name}{PARTIAL}{secrets.token_hex(4)}")
    try:
        yield partial
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Flush a closed file, or a folder with its content, to disk, and rename it.

    A file of that name is replaced.
    """
    for written in (partial, *partial.rglob("*")):
        _synchronise(written)
    os.replace(partial, path)
    with suppress(OSError):  # some file systems have no such thing for folders
        _synchronise(path.parent)


def remove_partial(folder: Path) -> None:
    """Remove temporary files of killed processes from a folder that no other process writes to."""
    for partial in folder.glob(f"*{PARTIAL}*"):
        partial.unlink()


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
