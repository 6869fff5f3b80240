"""Reading of IDX files, the format of MNIST, gzipped or not, without writing anything."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt


def read(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, with `axes` axes.

    Raises:
        ValueError: the file is not such a file, or truncated; the message names it.
    """
    data = _bytes(path)
    header = 4 + 4 * axes
    if data[:4] != bytes((0, 0, 8, axes)):
        raise ValueError(
            f"{path} must be an IDX file of bytes with {axes} axes, but starts with {data[:4].hex(' ')!r}."
        )
    lengths = np.frombuffer(data[4:header].ljust(4 * axes, b"\0"), ">u4").tolist()
    if len(data) != header + math.prod(lengths):
        raise ValueError(
            f"{path} must hold {header + math.prod(lengths):,} bytes, as its header says, got {len(data):,}. "
            "Delete it and fetch it again."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(lengths)


def _bytes(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} must be a whole gzip file: {error}. Delete it and fetch it again.") from error
