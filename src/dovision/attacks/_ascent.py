"""Gradient ascent on a classifier's loss within a ball around the image: the core of BIM, MI-FGSM and PGD."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._gradients import input_gradient
from dovision.attacks._lp_ball import Ball, column
from dovision.attacks.losses import Loss
from dovision.functional.norms import size
from dovision.interfaces import Classifier
from dovision.types import Batch


class Ascent:
    """Steps of steepest ascent, each brought back into the ball.

    Args:
        loss: what is raised.
        steps: gradients per image.
        step_size: in pixel units, a number or a fraction such as "2/255"; None is 2.5 * eps / steps.
        momentum: share of the direction so far that each step keeps, at least 0.
    """

    def __init__(self, loss: Loss, steps: int, step_size: float | str | None, momentum: float = 0.0) -> None:
        self.loss = loss
        self.steps = checks.positive_int("steps", steps)
        self.step_size = None if step_size is None else checks.positive("step_size", step_size)
        self.momentum = checks.at_least("momentum", momentum, 0)

    def __call__(self, ball: Ball, start: Tensor, batch: Batch, classifier: Classifier) -> Tensor:
        """Images that the steps from `start` lead to; both of shape (B, C, H, W)."""
        step_size = 2.5 * ball.eps / self.steps if self.step_size is None else self.step_size
        image, direction = start, torch.zeros_like(start)
        for _ in range(self.steps):
            gradient = input_gradient(image, batch.label, classifier, self.loss)
            direction = self.momentum * direction + of_length_one(gradient) if self.momentum else gradient
            image = ball.project(image + step_size * ball.steepest(direction))
        return image


def of_length_one(gradient: Tensor) -> Tensor:
    """Each image's gradient, shape (B, C, H, W), by its L1 norm, so that all weigh alike in a sum.

    Zero where it is not finite.
    """
    gradient = gradient.nan_to_num(0, 0, 0)
    largest = size(gradient, "linf").clamp(min=torch.finfo(gradient.dtype).tiny)
    gradient = gradient / column(largest)  # a sum of tiny or of huge numbers would leave the range of floats
    return gradient / column(gradient.abs().flatten(1).sum(1).clamp(min=1))
