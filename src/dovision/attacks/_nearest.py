"""Attacks that look for the nearest adversarial image, as attacks with a budget."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from dovision.attacks._objective import ObjectiveAttack
from dovision.attacks.losses import margin
from dovision.attacks.lp_ball import Ball, column
from dovision.functional.norms import size
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons


class NearestAttack(ObjectiveAttack):
    """Attack by the nearest adversarial image; if it exceeds the budget, the image clipped to the budget.

    An image of which the aim is reached already, or for which nothing is found, stays as it is.

    Args:
        eps, norm: as of Attack.
        target: a class, name or number, as of `Objective`; None for any wrong answer.
    """

    def __init__(self, eps: Epsilons, norm: str, target: int | str | None) -> None:
        super().__init__(eps, norm, margin, target)

    @abstractmethod
    def nearest(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        """Search the nearest adversarial images in [0, 1], at any distance, for images that are not adversarial."""

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        rows = (~self.reached(batch.image, batch, classifier)).nonzero().squeeze(1)
        if len(rows) == 0:
            return batch.image
        wanting = batch.rows(rows)
        nearest = self.nearest(wanting, classifier, eps)
        within = size(nearest - wanting.image, self.norm) <= eps
        budgeted = torch.where(column(within), nearest, Ball(wanting.image, eps, self.norm).project(nearest))
        reached = self.reached(nearest, wanting, classifier)
        return batch.image.index_copy(0, rows, torch.where(column(reached), budgeted, wanting.image))
