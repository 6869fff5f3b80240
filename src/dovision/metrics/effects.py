"""Effects of interventions as metrics: the average effect of each unit, and the mean size of expected effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dovision import checks
from dovision.functional.effects import above_resolution, mean_over_units
from dovision.metrics._mean import ImageMean, PlottedMetric


class AverageEffect(PlottedMetric):
    """Mean effect of each unit on each class, over the images on which the unit acts (ACE).

    compute() has shape (U, K), in [-1, 1], float64; nan for a unit that acted on no image. Effects below the resolution
    of float32 probabilities, 2^-24, count as 0, as in the tables of a run, whose averages count each patient once.

    Args:
        num_units: U.
        num_classes: K.

    Source: Chattopadhyay et al., Neural network attributions: a causal perspective, arXiv:1902.02302 (ACE);
    arXiv:1902.03380.

    Example:
        >>> import torch
        >>> from dovision.functional.effects import effect
        >>> from dovision.metrics import AverageEffect
        >>> metric = AverageEffect(num_units=1, num_classes=2)
        >>> control = torch.tensor([[[0.75, 0.25]], [[0.5, 0.5]]])
        >>> treated = torch.tensor([[[0.25, 0.75]], [[0.25, 0.75]]])
        >>> metric.update(effect(treated, control))
        >>> metric.compute()
        tensor([[-0.3750,  0.3750]], dtype=torch.float64)
    """

    total: Tensor  # (U, K) sum of effects
    count: Tensor  # (U, 1) images on which the unit acts

    def __init__(self, num_units: int, num_classes: int) -> None:
        super().__init__()
        self.shape = (checks.positive_int("num_units", num_units), checks.positive_int("num_classes", num_classes))
        self.add_state("total", torch.zeros(self.shape, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((num_units, 1), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, effect: Tensor, done: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            effect: treated minus control, shape (B, U, K), in [-1, 1].
            done: True where the unit acts on the image, shape (B, U) bool; None is everywhere.

        Raises:
            ValueError: a shape is another one.
        """
        if effect.shape[1:] != self.shape:
            raise ValueError(
                f"effect must have shape (B, {self.shape[0]}, {self.shape[1]}), got {tuple(effect.shape)}."
            )
        acts = effect.new_ones(effect.shape[:2], dtype=torch.bool) if done is None else done.to(effect.device)
        checks.same_shape(done=acts, units=effect[..., 0])
        clipped = above_resolution(effect).masked_fill(~acts.unsqueeze(-1), 0)
        self.total += clipped.sum(0, dtype=torch.float64).to(self.total.device)
        self.count += acts.sum(0).unsqueeze(-1).to(self.count.device)

    def compute(self) -> Tensor:
        return self.total / self.count

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> tuple[Any, Any]:
        """Plot the effects over the units, a line a class; arguments and result as of `PlottedMetric.plot`."""
        figure, axes = super().plot(list(self.compute() if val is None else val), ax)
        axes.set_xlabel("unit")
        return figure, axes


class MeanAbsoluteExpectedEffect(ImageMean):
    """Mean over images of the mean size of the expected effect over units, and for multilabel over labels.

    compute() is a scalar in [0, 1], float64; nan without an image on which a unit acts. Means of an image below the
    resolution of float32 probabilities, 2^-24, count as 0, as in summary.json.

    Source: arXiv:1902.03380.

    Example:
        >>> import torch
        >>> from dovision.functional.effects import effect, expected_effect
        >>> from dovision.metrics import MeanAbsoluteExpectedEffect
        >>> from dovision.types import Task
        >>> metric = MeanAbsoluteExpectedEffect()
        >>> control = torch.tensor([[[0.75, 0.25]]])
        >>> treated = torch.tensor([[[0.25, 0.75]]])
        >>> metric.update(expected_effect(effect(treated, control), control, Task("multiclass", ("no", "yes"))))
        >>> metric.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def update(self, expected_effect: Tensor, done: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            expected_effect: shape (B, U, K), in [-1, 1].
            done: True where the unit acts on the image, shape (B, U) bool; None is everywhere.
        """
        self.add(above_resolution(mean_over_units(expected_effect.abs(), done)))
