"""The best that an attack has found so far."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dovision.attacks._lp_ball import column
from dovision.attacks._objective import Objective
from dovision.interfaces import Classifier
from dovision.types import Batch


class Candidates(NamedTuple):
    """Candidates, one an image, and what the classifier makes of them."""

    image: Tensor  # (B, C, H, W)
    reached: Tensor  # (B,) bool, whether the aim is reached
    loss: Tensor  # (B,) what is raised

    def or_better(self, other: Candidates) -> Candidates:
        """For each image the one that reaches the aim, and among equals the one of the higher loss."""
        better = (other.reached & ~self.reached) | ((other.reached == self.reached) & (other.loss > self.loss))
        return self.replaced(better, other)

    def replaced(self, where: Tensor, other: Candidates) -> Candidates:
        """The other's in the rows of `where`, shape (B,) bool."""
        return Candidates(
            torch.where(column(where), other.image, self.image),
            torch.where(where, other.reached, self.reached),
            torch.where(where, other.loss, self.loss),
        )


@torch.no_grad()
def classify(image: Tensor, batch: Batch, classifier: Classifier, objective: Objective) -> Candidates:
    """Candidates of these images, shape (B, C, H, W), in place of the batch's own."""
    return judge(image, classifier(image), batch, classifier, objective)


def judge(image: Tensor, logits: Tensor, batch: Batch, classifier: Classifier, objective: Objective) -> Candidates:
    """Candidates of images, shape (B, C, H, W), from their logits, shape (B, K)."""
    task = classifier.task
    return Candidates(image, objective.reached(logits, batch.label, task), objective(logits, batch.label, task))
