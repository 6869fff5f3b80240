"""Arrays of plain numbers in .npy and .npz files, read only if they have the type, shape and length that are expected.

A header may claim anything: numbers that are pointers to objects, which end the process when they are followed, or more
rows than the file has bytes. NumPy is asked to refuse both; what else a header claims is checked here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dovision.io import files

AnyArray = npt.NDArray[Any]
Lengths = Sequence[int | None]  # of a shape; None: any number up to _MAX_ROWS
_MAX_ROWS = 1 << 24  # the most of a length that nothing else bounds
MAX_BYTES = 1 << 33  # the most of an array that is read into memory
_HEADER_BYTES = 128  # of an array as NumPy writes it
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of np.savez; others unpack without a limit
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class _Refused(ValueError):
    """An array of another type or shape than is expected."""


def npy_memmap(path: Path, dtype: npt.DTypeLike, shape: Lengths) -> AnyArray:
    """Memory-map the array of an .npy file, read-only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another type or shape.
    """
    size = files.require_regular_file(path).stat().st_size
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        end = array.offset + array.nbytes
    except Exception as error:  # a damaged header raises whatever its bytes lead to
        expected = _expected(dtype, shape)
        raise ValueError(f"{path} must be an .npy file of {expected}: {_reason(error)}. Make it again.") from error
    _check(str(path), array.dtype, array.shape, dtype, shape)
    if end != size:
        raise ValueError(f"{path} must have {end:,} bytes, as its header says, got {size:,}. Make it again.")
    return array


def npz_member(path: Path, name: str, dtype: npt.DTypeLike, shape: Lengths, limit: int | None = None) -> AnyArray:
    """Read an array of an .npz file into memory, and verify its checksum.

    It may have at most `limit` bytes; None: MAX_BYTES.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no such array, is damaged, or the array is of another type or shape.
    """
    limit = limit or MAX_BYTES
    with files.open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                entry = archive.getinfo(f"{name}.npy")
                if entry.file_size > limit + _HEADER_BYTES:
                    size = entry.file_size - _HEADER_BYTES
                    raise ValueError(f"its {size:,} bytes are more than the {limit:,} that are read of such an array")
                if entry.compress_type not in _COMPRESSIONS:
                    raise ValueError("it is not compressed as np.savez_compressed does it")
                with archive.open(entry) as member:
                    version = np.lib.format.read_magic(member)
                    if version not in _HEADERS:
                        raise ValueError(f"it is of version {version}")
                    lengths, _, stored = _HEADERS[version](member)
                    _check(f"{name} in {path}", stored, lengths, dtype, shape)  # before any number is unpacked
                    member.seek(0)
                    array = np.lib.format.read_array(member, allow_pickle=False)
                    if member.read(1):  # at the end the checksum is compared
                        raise ValueError("it has more bytes than its header says")
        except _Refused:
            raise
        except Exception as error:  # a damaged archive raises whatever its bytes lead to
            raise ValueError(f"{path} must be an .npz file with the array {name}: {_reason(error)}.") from error
    return array


def _check(label: str, got: np.dtype[Any], lengths: tuple[int, ...], dtype: npt.DTypeLike, shape: Lengths) -> None:
    fits = len(lengths) == len(shape) and all(
        0 <= length <= _MAX_ROWS if wanted is None else length == wanted
        for length, wanted in zip(lengths, shape, strict=True)
    )
    if got != np.dtype(dtype) or not fits:
        raise _Refused(f"{label} must be an array of {_expected(dtype, shape)}, got {got} of shape {lengths}.")


def _expected(dtype: npt.DTypeLike, shape: Lengths) -> str:
    lengths = ", ".join("N" if length is None else str(length) for length in shape)
    return f"{np.dtype(dtype)}, shape ({lengths}{',' if len(shape) == 1 else ''})"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
