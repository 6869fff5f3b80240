"""Large arrays in files, opened anew in each process."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class FileArray:
    """The array of an .npy file, or of a member of an .npz, opened when first asked for.

    It is memory-mapped, and so costs no memory of the process; but for a compressed member, which is read whole, once.
    What is pickled is the path alone.

    Args:
        path: the .npy or .npz file.
        member: the array's name in an .npz.
    """

    def __init__(self, path: Path, member: str | None = None) -> None:
        self.path = path
        self.member = member
        self._array: Array | None = None

    @property
    def array(self) -> Array:
        """The array, read-only where it is memory-mapped."""
        if self._array is None:
            self._array = np.load(self.path, mmap_mode="r") if self.member is None else _member(self.path, self.member)
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


def _member(path: Path, name: str) -> Array:
    """An array of an .npz, memory-mapped if it is stored as it is.

    Raises:
        ValueError: the file has no such array, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as file:
                if info.compress_type != zipfile.ZIP_STORED:
                    return np.lib.format.read_array(file, allow_pickle=False)
                version = np.lib.format.read_magic(file)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, fortran, dtype = header[version](file)
                within = file.tell()
        start = _data_start(path, info) + within
        return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
    except (KeyError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must be an .npz file with the array {name}: {error}.") from error


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: after its local header, of 30 bytes, a name and an extra field."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return info.header_offset + 30 + name + extra
