"""Open input files: regular ones only, within a budget of bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

TEXT = 1 << 28  # bytes of a table, unzipped; the largest known, of ChestX-ray14, has 2 ** 23
JSON, YAML = 1 << 26, 1 << 22  # bytes: some texts of these take 30 times, and 300 times, as much once they are read
CHUNK_BYTES = 1 << 20  # bytes hashed at a time
_NOT_REGULAR = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def require_regular_file(path: str | Path, limit: int | None = None) -> Path:
    """Return the path if it names a regular file, for libraries that open files themselves.

    Reading from a pipe waits forever, and from a device never ends.

    Args:
        path: of the file; links are followed.
        limit: bytes that it may have; None for any number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another kind, or larger.
    """
    path = Path(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        got = _NOT_REGULAR.get(stat.S_IFMT(status.st_mode), "something else")
        raise ValueError(f"{path} must be a regular file, got {got}. Name a file, or take it away.")
    if limit is not None and status.st_size > limit:
        raise ValueError(too_large(path, limit, f"{status.st_size:,}"))
    return path


def open_file(path: str | Path, limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading; arguments and errors as of `require_regular_file`."""
    return require_regular_file(path, limit).open("rb")


def read_bytes(path: str | Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; errors as of `require_regular_file`."""
    with open_file(path, limit) as file:
        return file.read(limit)


def read_text(path: str | Path, limit: int = TEXT) -> str:
    """Read a regular UTF-8 file without its byte order mark; arguments as of `require_regular_file`.

    Raises:
        ValueError: also if it is in another encoding.
    """
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a text in UTF-8: {error}. Save it as UTF-8.") from error


def sha256(path: str | Path) -> str:
    """SHA-256 of a regular file, 64 hexadecimal digits; errors as of `require_regular_file`."""
    with open_file(path) as file:
        return digest(file)


def digest(file: BinaryIO, length: int | None = None) -> str:
    """SHA-256 of a file's first `length` bytes, or of all."""
    sha, left = hashlib.sha256(), sys.maxsize if length is None else length
    file.seek(0)
    while piece := file.read(min(CHUNK_BYTES, left)):
        sha.update(piece)
        left -= len(piece)
    return sha.hexdigest()


def unzipped(path: str | Path, limit: int) -> bytes:
    """Decompress a gzip file, verifying its checksum, up to `limit` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, no whole gzip file, or one of more than `limit` bytes.
    """
    data = io.BytesIO()
    try:
        with open_file(path, limit) as file, gzip.GzipFile(fileobj=file) as archive:
            while piece := archive.read(
                min(CHUNK_BYTES, limit + 1 - data.tell())
            ):  # in one piece, it allocates `limit`
                data.write(piece)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file: {error}. Delete it and fetch it again.") from error
    if data.tell() > limit:
        raise ValueError(too_large(path, limit, "more when unzipped"))
    return data.getvalue()


def too_large(path: str | Path, limit: int, got: str) -> str:
    """Message about a file above its size limit."""
    return f"{path} must have at most {limit:,} bytes, got {got}. Make it smaller, or take it away."
