"""The base of metrics that are a mean over images."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageMean(Metric):
    """Mean over the images that have a number; compute() is a scalar of float64, nan before the first one.

    A subclass gives the numbers of a batch to `add` in its `update`.
    """

    full_state_update = False
    total: Tensor  # scalar, sum over the images that have a number
    count: Tensor  # scalar, how many these are

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Take images into account, by their numbers, shape (B,); nan is no number."""
        finite = values.isfinite()
        self.total += values[finite].sum(dtype=torch.float64).to(self.total.device)
        self.count += finite.sum().to(self.count.device)

    def compute(self) -> Tensor:
        return self.total / self.count
