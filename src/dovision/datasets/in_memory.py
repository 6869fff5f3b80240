"""Images that are held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dovision.interfaces import Source


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


def in_memory(array: Tensor, label: Tensor, rows: Sequence[int], white: float, first_group: int = 0) -> Source:
    """Some rows of an array of images, each a group of its own.

    Args:
        array: shape (N, C, H, W), numbers from 0 to `white`.
        label: shape (N,), int64.
        rows: those that are meant.
        white: the number that becomes 1.
        first_group: the group of row 0.
    """
    chosen = torch.tensor(rows)
    images = InMemory(array, chosen, white)
    return Source(images, label[chosen], chosen + first_group, images.several)
