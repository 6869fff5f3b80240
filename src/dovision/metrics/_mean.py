"""The base of metrics that are a mean over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class PlottedMetric(Metric):
    """Metric that plots its value, as those of torchmetrics do."""

    is_differentiable = False
    higher_is_better: bool | None = None
    full_state_update = False

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> tuple[Any, Any]:
        """Plot a value, or several values over steps.

        Args:
            val: of `forward` or `compute`; None: that of `compute`.
            ax: matplotlib's axes; None: new ones.

        Returns:
            The figure and its axes.
        """
        return self._plot(val, ax)


class ImageMean(PlottedMetric):
    """Mean over images with a number; compute() is a float64 scalar, nan before the first image.

    A subclass gives the numbers of a batch to `add` in its `update`.
    """

    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    total: Tensor  # scalar, sum over the images that have a number
    count: Tensor  # scalar, how many these are

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Add images by their numbers, shape (B,); nan is skipped."""
        finite = values.isfinite()
        self.total += values[finite].sum(dtype=torch.float64).to(self.total.device)
        self.count += finite.sum().to(self.count.device)

    def compute(self) -> Tensor:
        return self.total / self.count
