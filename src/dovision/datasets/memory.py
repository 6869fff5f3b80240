"""A split of a dataset whose images are held in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dovision.contracts import Batch


class InMemory(Dataset[Batch]):
    """Rows of an array of images.

    Args:
        image: shape (N, C, H, W), numbers from 0 to `white`.
        label: shape (N,), int64.
        rows: the rows that make up this split, in order.
        white: the number that becomes 1.
        first_group: the group of row 0; each row is a group of its own.
    """

    def __init__(self, image: Tensor, label: Tensor, rows: Sequence[int], white: float, first_group: int = 0) -> None:
        self.image = image
        self.label = label
        self.rows = torch.tensor(rows)
        self.white = white
        self.first_group = first_group

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, sample: int) -> Batch:
        row = self.rows[sample]
        image = self.image[row].float() / self.white
        return Batch(image, self.label[row], torch.tensor(sample), row + self.first_group)
