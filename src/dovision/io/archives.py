"""Members of ZIP archives, as paths that go on behind the archive's: films.zip/patient/1.png."""

from __future__ import annotations

import errno
import functools
import lzma
import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from dovision.io import files

_SUFFIX = ".zip"
_DAMAGED = (  # RuntimeError of an encrypted member, OSError of damaged bzip2 and of a place before the start
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    OSError,
)


class Member(NamedTuple):
    """A file in an archive."""

    archive: Path
    name: str


def archive_member(path: Path) -> Member | None:
    """Archive member that a path names; None for a path outside archives."""
    for parent in path.parents:
        if parent.name.lower().endswith(_SUFFIX) and parent.is_file():
            return Member(parent, path.relative_to(parent).as_posix())
    return None


def file_on_disk(path: Path) -> Path:
    """File that holds a path's bytes: the archive, or the path itself."""
    member = archive_member(path)
    return path if member is None else member.archive


def read_path(path: Path, limit: int) -> bytes:
    """Read a regular file, or an archive member, of at most `limit` bytes.

    Raises:
        FileNotFoundError: there is no such file, or no such member.
        ValueError: it is of another kind, larger, encrypted or damaged.
    """
    member = archive_member(path)
    if member is None:
        return files.read_bytes(path, limit)
    status = member.archive.stat()
    try:
        archive = _opened(str(member.archive), status.st_size, status.st_mtime_ns, status.st_ctime_ns, os.getpid())
        size = archive.getinfo(member.name).file_size
        if size > limit:
            raise ValueError(files.too_large(path, limit, f"{size:,}"))
        with archive.open(member.name) as inner:
            return b"".join(iter(functools.partial(inner.read, files.PIECE), b""))
    except KeyError as error:
        raise FileNotFoundError(f"{member.archive} must have a member {member.name}, but has none.") from error
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk, not of what is on it
            raise
        raise ValueError(
            f"{path} must be a whole member of an archive: {error}. Make the archive again, without a password."
        ) from error


@functools.lru_cache(8)
def _opened(path: str, *_: int) -> zipfile.ZipFile:
    """Open an archive once per state on disk and per process, since each has its own read position."""
    return zipfile.ZipFile(files.open_file(path))
