"""Images that are held in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from dovision.interfaces import Images, Source


@dataclass(frozen=True)
class InMemory:
    """Rows of an array of images, shape (N, C, H, W), of numbers from 0 to `white`, which becomes 1."""

    array: Tensor
    rows: Tensor  # (R,) int64
    white: float

    def __call__(self, row: int) -> Tensor:
        return self.array[self.rows[row]].float() / self.white

    def several(self, rows: Tensor) -> Tensor:
        """Images of rows, shape (R,)."""
        return self.array[self.rows[rows]].float() / self.white


class ArrayImages(Images):
    """Base of datasets that are rows of one array, each a group of its own. A subclass sets `task`, `shape`, these:

    Attributes:
        array: shape (N, C, H, W), numbers from 0 to `white`.
        label: shape (N,), int64.
        rows: of each split, its rows.
        parts: by the name of each file, in their order, the row of its first image.
        white: the number that becomes 1.
    """

    array: Tensor
    label: Tensor
    rows: Mapping[str, Sequence[int]]
    parts: Mapping[str, int]
    white: float = 255

    def source(self, split: str) -> Source:
        rows = torch.tensor(self.rows[split])
        images = InMemory(self.array, rows, self.white)
        return Source(images, self.label[rows], rows, images.several)

    def source_table(self, split: str) -> pd.DataFrame:
        """Return `name`, the file and the number in it, such as test-0."""
        names = [self._name(row) for row in self.rows[split]]
        return pd.DataFrame({"name": names, "group": names})

    def _name(self, row: int) -> str:
        file = max((name for name in self.parts if self.parts[name] <= row), key=self.parts.__getitem__)
        return f"{file}-{row - self.parts[file]}"
