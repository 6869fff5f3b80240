"""Large arrays in files, opened again in each process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from dovision.io import arrays
from dovision.io.arrays import AnyArray, Lengths


class FileArray:
    """The array of an .npy file, or of a member of an .npz, opened when first asked for.

    It is memory-mapped, and so costs no memory of the process; but for a compressed member, which is read whole, once.
    What is pickled is the path alone.

    Args:
        path: the .npy or .npz file.
        dtype: of its numbers.
        shape: lengths; None for one that is not known.
        member: the array's name in an .npz.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, shape: Lengths, member: str | None = None) -> None:
        self.path = path
        self.dtype = dtype
        self.shape = shape
        self.member = member
        self._array: AnyArray | None = None

    @property
    def array(self) -> AnyArray:
        """The array, read-only.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or the array is missing or of another type or shape.
        """
        if self._array is None and self.member is None:
            self._array = arrays.mapped(self.path, self.dtype, self.shape)
        elif self._array is None:
            self._array = arrays.member(self.path, str(self.member), self.dtype, self.shape)
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}
