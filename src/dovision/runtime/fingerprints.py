"""Hashes of files and fingerprints of datasets, found again as long as nothing has changed on disk."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dovision.io import files
from dovision.io.atomic import replacing
from dovision.runtime.progress import DISPLAY

if TYPE_CHECKING:  # it takes torch to import, for which a command that finds its run completed does not wait
    from dovision.interfaces import Images

log = logging.getLogger(__name__)
CACHE_FILE = ".fingerprints.json"  # in the output root
MANY = ".fingerprints-of-images.json"  # beside it: those of the files of large datasets, read by few commands
SETTLED = 2.0  # seconds; a younger file may change again and bear the same time where times are whole seconds


class _Entry(NamedTuple):
    """A value, and the state of the files and folders that it was computed from."""

    sources: Sequence[str]
    state: str
    value: str


class Fingerprints(AbstractContextManager["Fingerprints"]):
    """Values that are computed from files, by path, real path, inode, size and time, kept in a small file.

    Two times count: that of a file's content, and that of its entry, which changes too when a file takes the place of
    another one of the same size and time. What changed less than two seconds before it was read is not kept. If the
    file is missing or damaged all is computed again; what one of two processes writes at once may be lost, which costs
    nothing but time. Use it in a `with`, at whose end the file is written.
    """

    def __init__(self, output_root: Path, name: str = CACHE_FILE) -> None:
        self._path = output_root / name
        self._known = _read(self._path)
        self._new: dict[str, _Entry] = {}
        self._unsourced: dict[str, str] = {}  # fingerprints of datasets that do not name their files

    def __exit__(self, *error: object) -> None:
        if self._new and self._path.parent.is_dir():
            with suppress(OSError):  # such as that of a folder that is only read
                _write(self._path, {**_read(self._path), **self._new})

    def file(self, path: Path) -> str:
        """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
        value, began = self._found(_name(path)), time.time()
        if value is None:
            value = files.sha256(path)
            self._keep(_name(path), [path], value, began)
        return value

    def many(self, paths: Sequence[Path]) -> list[str]:
        """The SHA-256 of the bytes of each of some files, in a file of their own; one that is known is not read."""
        if not paths:
            return []
        with Fingerprints(self._path.parent, MANY) as prints:
            known = {path: value for path in paths if (value := prints._found(_name(path))) is not None}
            due = [path for path in dict.fromkeys(paths) if path not in known]
            if due:
                log.info("reading %s of %s files of the dataset for their hashes", f"{len(due):,}", f"{len(paths):,}")
            with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
                hashes = DISPLAY.track(pool.map(prints.file, due), "hashing images", "files", len(due))
                known |= zip(due, hashes, strict=True)
            return [known[path] for path in dict.fromkeys(paths)]

    def data(self, key: str, make: Callable[[], Images]) -> str:
        """The fingerprint of a dataset, which is made only where that is not known.

        The key stands for all that the dataset is made of, but for the content of files.
        """
        return self._found(f"data {key}") or self._unsourced.get(key) or self.opened(key, make).fingerprint

    def opened(self, key: str, make: Callable[[], Images]) -> Images:
        """The dataset, whose fingerprint is kept; arguments as those of `data`."""
        began = time.time()
        images = make()
        if images.files is None:
            self._unsourced[key] = images.identified(self.many)
        else:
            self._keep(f"data {key}", images.files, images.identified(self.many), began)
        return images

    def _found(self, name: str) -> str | None:
        entry = self._new.get(name) or self._known.get(name)
        same = entry is not None and stat_files(map(Path, entry.sources)).state == entry.state
        return entry.value if entry is not None and same else None

    def _keep(self, name: str, sources: Iterable[Path], value: str, began: float) -> None:
        absolute = [source.absolute() for source in sources]
        seen = stat_files(absolute)
        if seen.changed < began - SETTLED:
            self._new[name] = _Entry(list(map(str, absolute)), seen.state, value)


def _name(path: Path) -> str:
    return f"file {path.absolute()}"


class FileState(NamedTuple):
    """Files and folders as they are now: a hash of all names, inodes, sizes and times; the last time in seconds."""

    state: str
    changed: float


def stat_files(paths: Iterable[Path]) -> FileState:
    """State of files, and of folders with all that lies below them, now; links are followed."""
    digest, changed = hashlib.sha256(), 0.0
    for path in paths:
        digest.update(os.path.realpath(path).encode("utf-8", "surrogateescape"))
        for name, status in _walk(str(path), set()):
            state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns) if status else None
            digest.update(repr((name, state)).encode("utf-8", "surrogateescape"))
            if status is not None:
                changed = max(changed, status.st_mtime, status.st_ctime)
    return FileState(digest.hexdigest(), changed)


def _walk(path: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        status = os.stat(path)
    except OSError:  # it is not there, or a link to nothing
        yield path, None
        return
    yield path, status
    if stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) not in seen:
        seen.add((status.st_dev, status.st_ino))
        for name in sorted(os.listdir(path)):
            yield from _walk(os.path.join(path, name), seen)


def _read(path: Path) -> dict[str, _Entry]:
    """The entries of the file; none if it is not there or not as it was written."""
    try:
        content = json.loads(files.read_text(path)) if path.is_file() else {}
        if content.get("sha256") != _sum(content.get("entries")):
            return {}
        return {name: _Entry(*entry) for name, entry in content["entries"].items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write(path: Path, entries: dict[str, _Entry]) -> None:
    there = {name: entry for name, entry in entries.items() if all(map(os.path.exists, entry.sources))}
    with replacing(path) as partial:
        partial.write_text(json.dumps({"sha256": _sum(there), "entries": there}))


def _sum(entries: object) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
