"""Images that are held in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from dovision.interfaces import Images, Source


class ArrayImages(Images):
    """Base of datasets that are rows of one array, each a group of its own. A subclass sets `task`, `shape`, these:

    Attributes:
        array: shape (N, C, H, W), float in [0, 1].
        label: shape (N,), int64.
        rows: of each split, its rows.
        name: of the array; images are named after it and their row, such as digits-0.
    """

    array: Tensor
    label: Tensor
    rows: Mapping[str, Sequence[int]]
    name: str

    def source(self, split: str) -> Source:
        rows = torch.tensor(self.rows[split])
        images = self.array[rows]
        return Source(images.__getitem__, self.label[rows], rows, images.__getitem__)

    def source_table(self, split: str) -> pd.DataFrame:
        names = [f"{self.name}-{row}" for row in self.rows[split]]
        return pd.DataFrame({"name": names, "group": names})
