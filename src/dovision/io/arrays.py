"""Arrays of plain numbers in .npy and .npz files, whose headers are checked before a byte of theirs is used.

A header may claim anything: numbers that are pointers to objects, which end the process when they are followed, or more
rows than the file has bytes. An array is read only if its header claims the type and shape that are expected, and the
file holds exactly that.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dovision.io import files

AnyArray = npt.NDArray[Any]
Lengths = Sequence[int | None]  # of a shape; None: any number up to ROWS
_MAX_ROWS = 1 << 24  # the most of a length that nothing else bounds
MAX_BYTES = 1 << 33  # the most of an array that is read into memory
_CHUNK_BYTES = 1 << 20  # bytes read at a time


class Header(NamedTuple):
    """Header of an .npy file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int  # where its numbers begin

    @property
    def end(self) -> int:
        return self.start + self.dtype.itemsize * math.prod(self.shape)


def mapped(path: Path, dtype: npt.DTypeLike, shape: Lengths, mode: str = "r") -> AnyArray:
    """The array of an .npy file, memory-mapped; mode r+ to write into the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another type or shape.
    """
    with files.open_file(path) as file:
        try:
            header = _header(file)
            size = file.seek(0, 2)
        except Exception as error:  # a damaged header raises whatever its bytes lead to
            raise ValueError(f"{path} must be an .npy file of {_expected(dtype, shape)}: {_reason(error)}.") from error
    _check(str(path), header, dtype, shape)
    if header.end != size:
        raise ValueError(f"{path} must have {header.end:,} bytes, as its header says, got {size:,}. Make it again.")
    return _map(path, header, mode, header.start)


def member(path: Path, name: str, dtype: npt.DTypeLike, shape: Lengths, most: int | None = None) -> AnyArray:
    """An array of an .npz file, whose checksum there is compared: memory-mapped if it is not compressed.

    It may have at most `most` bytes; None: MAX_BYTES if it is compressed, else any number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no such array, is damaged, or the array is of another type or shape.
    """
    what = f"{name} in {path}"
    with files.open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                entry = archive.getinfo(f"{name}.npy")
                with archive.open(entry) as inner:
                    header = _header(inner)
                    _check(what, header, dtype, shape)
                    data = _content(inner, entry, header, most)
            start = _data_start(file, entry)
        except _Refused:
            raise
        except Exception as error:  # a damaged archive raises whatever its bytes lead to
            raise ValueError(f"{path} must be an .npz file with the array {name}: {_reason(error)}.") from error
    if data is None:
        return _map(path, header, "r", start + header.start)
    found = np.frombuffer(data, header.dtype, offset=header.start)
    return found.reshape(header.shape, order="F" if header.fortran else "C")


@dataclass(frozen=True)
class FileArray:
    """The array of an .npy file, or of a member of an .npz, opened when first asked for.

    It is memory-mapped, and so costs no memory of the process; but for a compressed member, which is read whole, once.
    What is pickled is the path alone.
    """

    path: Path  # of the .npy or .npz file
    dtype: npt.DTypeLike
    shape: Lengths  # None for a length that is not known
    member: str | None = None  # the array's name in an .npz

    @cached_property
    def array(self) -> AnyArray:
        """The array, read-only; errors as those of `mapped` and `member`."""
        if self.member is None:
            return mapped(self.path, self.dtype, self.shape)
        return member(self.path, self.member, self.dtype, self.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "array"}


class _Refused(ValueError):
    """An array that is whole, and another than is expected."""


def _map(path: Path, header: Header, mode: Any, start: int) -> AnyArray:
    if 0 in header.shape:  # which cannot be mapped
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, mode, start, header.shape, "F" if header.fortran else "C")


def _header(file: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"it is of version {version}")
    shape, fortran, dtype = read(file)
    return Header(dtype, shape, fortran, file.tell())


def _check(what: str, header: Header, dtype: npt.DTypeLike, shape: Lengths) -> None:
    fits = len(header.shape) == len(shape) and all(
        0 <= got <= _MAX_ROWS if wanted is None else got == wanted
        for got, wanted in zip(header.shape, shape, strict=True)
    )
    if header.dtype != np.dtype(dtype) or not fits:
        raise _Refused(
            f"{what} must be an array of {_expected(dtype, shape)}, got {header.dtype} of shape {header.shape}."
        )


def _content(inner: IO[bytes], entry: zipfile.ZipInfo, header: Header, most: int | None) -> bytes | None:
    """Read a member to its end, where its checksum is compared; its bytes, unless they can be mapped."""
    if entry.file_size != header.end:
        raise ValueError(f"its header claims {header.end:,} bytes of {entry.file_size:,}")
    stored = entry.compress_type == zipfile.ZIP_STORED
    limit = most or (header.end if stored else MAX_BYTES)
    if header.end > limit:
        raise ValueError(f"its {header.end:,} bytes are more than the {limit:,} that are read of such an array")
    if stored:
        while inner.read(_CHUNK_BYTES):
            pass
        return None
    inner.seek(0)
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        return inner.read(header.end)  # no further, whatever is behind it; the checksum is compared there
    return b"".join(iter(partial(inner.read, files.PIECE), b""))


def _data_start(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Start of the bytes of a stored member: after its local header, of 30 bytes, a name and an extra field."""
    file.seek(entry.header_offset + 26)
    name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return entry.header_offset + 30 + name + extra


def _expected(dtype: npt.DTypeLike, shape: Lengths) -> str:
    lengths = ", ".join("N" if length is None else str(length) for length in shape)
    return f"{np.dtype(dtype)}, shape ({lengths}{',' if len(shape) == 1 else ''})"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
