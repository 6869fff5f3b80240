"""Gradient ascent on a classifier's loss within a ball around the image: the core that FGSM, BIM and PGD share."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.ball import Ball
from dovision.attacks.losses import Loss
from dovision.contracts import Batch, Classifier


class Ascent:
    """Steps of steepest ascent, each brought back into the ball.

    Args:
        loss: what is raised.
        steps: gradients per image.
        step_size: in pixel units, a number or a fraction such as "2/255"; None is 2.5 * eps / steps.
    """

    def __init__(self, loss: Loss, steps: int, step_size: float | str | None) -> None:
        self.loss = loss
        self.steps = checks.positive_int("steps", steps)
        self.step_size = None if step_size is None else checks.positive("step_size", step_size)

    def __call__(self, ball: Ball, start: Tensor, batch: Batch, classifier: Classifier) -> Tensor:
        """Where the steps lead from `start`; both of shape (B, C, H, W)."""
        step_size = 2.5 * ball.eps / self.steps if self.step_size is None else self.step_size
        image = start
        for _ in range(self.steps):
            gradient = input_gradient(image, batch.label, classifier, self.loss)
            image = ball.project(image + step_size * ball.steepest(gradient))
        return image


def input_gradient(image: Tensor, label: Tensor, classifier: Classifier, loss: Loss) -> Tensor:
    """Gradient of each image's own loss with respect to its pixels, shape (B, C, H, W)."""
    leaf = image.clone().requires_grad_()
    label = label.clone()  # one made in inference mode could not be kept for the backward pass
    value = loss(classifier(leaf), label, classifier.task).sum()
    (gradient,) = torch.autograd.grad(value, leaf)
    return gradient
