"""SHA-256 of files, found again as long as nothing has changed on disk: the cache of an output root."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dovision.io import files
from dovision.io.progress import DISPLAY
from dovision.io.text_files import write_text

log = logging.getLogger(__name__)
CACHE_FILE = ".fingerprints.json"  # in the output root
SETTLED = 2.0  # seconds; a younger file may change again and bear the same time where times are whole seconds


class Digests:
    """Cache of file digests by path, real path, inode, size and times, in the output root.

    Two times count: that of a file's content, and that of its entry, which changes too when a file takes the place of
    another one of the same size and time. What changed less than two seconds before it was read is not stored. If the
    cache is missing or damaged all is computed again; what one of two processes writes at once may be lost, which costs
    nothing but time.
    """

    def __init__(self, output_root: Path) -> None:
        self._path = output_root / CACHE_FILE
        self._entries = _read_cache(self._path)
        self._new: dict[str, list[str]] = {}

    def __call__(self, path: Path) -> str:
        """SHA-256 of a file's bytes, 64 hexadecimal digits, cached."""
        name, state, began = str(path.absolute()), stat_files([path]), time.time()
        if (digest := self._cached(name, state)) is None:
            digest = files.sha256(path)
            if state.changed < began - SETTLED and stat_files([path]) == state:
                self._entries[name] = self._new[name] = [state.digest, digest]
        return digest

    def many(self, paths: Sequence[Path]) -> list[str]:
        """Digests of several files; missing ones are computed in threads."""
        digests = {path: self._cached(str(path.absolute()), stat_files([path])) for path in paths}
        if due := [path for path, digest in digests.items() if digest is None]:
            log.info("reading %s of %s files of the dataset for their hashes", f"{len(due):,}", f"{len(paths):,}")
            with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
                read = DISPLAY.track(pool.map(self, due), "hashing images", "files", len(due))
                digests |= zip(due, read, strict=True)
            self.save()
        return [str(digests[path]) for path in paths]

    def _cached(self, name: str, state: FileState) -> str | None:
        before, digest = self._entries.get(name, ("", ""))
        return digest if before == state.digest else None

    def save(self) -> None:
        """Add new entries to the cache that other processes also write; drop those of deleted files."""
        if self._new and self._path.parent.is_dir():
            entries = {**_read_cache(self._path), **self._new}
            content = json.dumps({name: entry for name, entry in sorted(entries.items()) if os.path.exists(name)})
            with suppress(OSError):  # such as that of a folder that is only read
                write_text(self._path, content)
                self._new = {}


class FileState(NamedTuple):
    """Current state of files and folders: a hash of names, inodes, sizes and times, and the latest time."""

    digest: str
    changed: float


def stat_files(paths: Iterable[Path]) -> FileState:
    """Read the state of files and of folders with their content; links are followed."""
    digest, changed = hashlib.sha256(), 0.0
    for path in paths:
        digest.update(os.path.realpath(path).encode("utf-8", "surrogateescape"))
        for name, status in _walk(str(path)):
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) if status else None
            digest.update(repr((name, state)).encode("utf-8", "surrogateescape"))
            if status is not None:
                changed = max(changed, status.st_mtime, status.st_ctime)
    return FileState(digest.hexdigest(), changed)


def files_below(folder: Path) -> list[Path]:
    """Files in a folder, those behind links to other folders among them."""
    return [Path(name) for name, status in _walk(str(folder)) if status and stat.S_ISREG(status.st_mode)]


def _walk(path: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        status = os.stat(path)
    except OSError:  # it is not there, or a link to nothing
        yield path, None
        return
    yield path, status
    if stat.S_ISDIR(status.st_mode) and (inode := (status.st_dev, status.st_ino)) not in above:
        for name in sorted(os.listdir(path)):
            yield from _walk(os.path.join(path, name), above | {inode})


def _read_cache(path: Path) -> dict[str, list[str]]:
    """Read a cache: state and digest of each file, by path; empty if missing or invalid."""
    try:
        content = json.loads(files.read_text(path)) if path.is_file() else {}
        return {name: entry for name, entry in content.items() if isinstance(entry, list) and len(entry) == 2}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
