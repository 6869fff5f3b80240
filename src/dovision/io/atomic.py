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
    """A temporary name beside `path`, which takes its place if the block succeeds and is removed if not."""
    partial = path.with_name(f"{path.name}{PARTIAL}{secrets.token_hex(4)}")
    try:
        yield partial
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Bring a closed file, or a folder with all in it, to the disk, and then give it its name beside it.

    A file of that name is replaced.
    """
    for written in (partial, *partial.rglob("*")):
        _synchronise(written)
    os.replace(partial, path)
    with suppress(OSError):  # some file systems have no such thing for folders
        _synchronise(path.parent)


def remove_partial(folder: Path) -> None:
    """Remove what killed processes have left of files in a folder, in which nobody else may be writing."""
    for partial in folder.glob(f"*{PARTIAL}*"):
        partial.unlink()


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
