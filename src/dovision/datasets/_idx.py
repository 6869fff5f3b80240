"""Reading of IDX files, the format of MNIST, gzipped or not, without writing anything."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dovision.io import files

_MAX_BYTES = 1 << 31  # bytes of a file, unzipped; MNIST's largest has 2 ** 26


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
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
    return files.unzipped(path, _MAX_BYTES) if path.suffix == ".gz" else files.read_bytes(path, _MAX_BYTES)
