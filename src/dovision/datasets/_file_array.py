"""Large arrays in files, opened again in each process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from dovision.io import arrays
from dovision.io.arrays import AnyArray, Lengths


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
        """The array, read-only.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or the array is missing or of another type or shape.
        """
        if self.member is None:
            return arrays.mapped(self.path, self.dtype, self.shape)
        return arrays.member(self.path, self.member, self.dtype, self.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "array"}
