"""Counts of a run's attacks as metrics: zero or broken gradients, which they depend on, and the passes they take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from dovision.interfaces import Attack
from dovision.metrics._mean import ImageMean
from dovision.results.detection_tables import MASKED

log = logging.getLogger(__name__)


class GradientHealth(ImageMean):
    """Mean share of pixels with zero or NaN gradients over clean images; warns once above 5%."""

    def update(self, dead: Tensor) -> None:
        """Add clean images by their shares of `dead_gradients`, shape (B,)."""
        self.add(dead)

    def warn(self) -> None:
        """Log a warning if an attack may have failed for lack of gradients."""
        if self.compute() > MASKED:
            log.warning(
                "%.0f%% of the gradients are zero or not finite: attacks by gradient may fail, which is no sign of "
                "robustness. Try the loss margin, or the attack square, which needs none.",
                100 * self.compute(),
            )


class Queries(Metric):
    """Mean forward passes of an attack per image; compute() has shape (E,), by epsilon."""

    full_state_update = False
    passes: Tensor  # (E,) of one image each
    images: Tensor  # scalar

    def __init__(self, attack: Attack) -> None:
        super().__init__()
        self.attack = attack
        self._before = self._counted()
        self.add_state("passes", torch.zeros(len(attack.eps), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: int) -> None:
        """Add the attack's passes since the last call, on so many images."""
        counted = self._counted()
        self.passes += (counted - self._before).to(self.passes.device)
        self.images += images
        self._before = counted

    def compute(self) -> Tensor:
        return self.passes.double() / self.images

    def by_epsilon(self) -> dict[str, float]:
        """Result by epsilon as text; 0 for an epsilon of 0; empty before the first image."""
        if not self.images:
            return {}
        means = zip(self.attack.eps, self.compute().view(-1).tolist(), strict=True)  # one number comes as a scalar
        return {f"{eps:g}": mean for eps, mean in means if eps > 0}

    def _counted(self) -> Tensor:
        return torch.tensor([self.attack.passes[eps] for eps in self.attack.eps], dtype=torch.int64)


def saved_state(metric: Metric) -> dict[str, Any]:
    """Sums of a metric in plain types, for `load_state` in a later start of the run."""
    return {name: torch.as_tensor(value).tolist() for name, value in metric.metric_state.items()}


def load_state(metric: GradientHealth | Queries, state: Mapping[str, Any]) -> None:
    """Restore a metric from the state of an earlier start."""
    nothing: Any = 0 if isinstance(metric, Queries) else torch.zeros(0)
    metric.update(nothing)  # one that was never updated warns
    for name, value in state.items():
        setattr(metric, name, torch.tensor(value, dtype=getattr(metric, name).dtype))
