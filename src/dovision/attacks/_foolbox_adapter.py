"""Foolbox's attacks that look for the nearest adversarial image, as attacks with a budget."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dovision.attacks._lp_ball import Ball, column
from dovision.attacks._objective import Objective
from dovision.attacks.losses import margin
from dovision.functional.norms import size
from dovision.interfaces import Classifier
from dovision.types import Batch

# (model, images, criterion) -> images; the first and the last are foolbox's.
Search = Callable[[Any, Tensor, Any], Tensor]

NEVER = -1e6  # a logit below all that classifiers give, yet finite: foolbox multiplies it


class Nearest:
    """The nearest image of which the aim is reached where it lies within the budget, else its point clipped to that.

    An image of which the aim is reached already, or for which nothing is found, stays as it is.

    Args:
        search: for that image.
        target: a class, name or number, as of `Objective`; None for any wrong answer.
    """

    def __init__(self, search: Search, target: int | str | None) -> None:
        self.search = search
        self.objective = Objective(margin, target)

    def __call__(self, ball: Ball, batch: Batch, classifier: Classifier) -> Tensor:
        """Images of the ball, shape (B, C, H, W)."""
        rows = (~self._reached(batch.image, batch, classifier)).nonzero().squeeze(1)
        if len(rows) == 0:
            return batch.image
        wanting = batch.rows(rows)
        found = self._found(wanting, classifier)
        within = size(found - wanting.image, ball.norm) <= ball.eps
        budgeted = torch.where(column(within), found, Ball(wanting.image, ball.eps, ball.norm).project(found))
        reached = self._reached(found, wanting, classifier)
        return batch.image.index_copy(0, rows, torch.where(column(reached), budgeted, wanting.image))

    def _found(self, batch: Batch, classifier: Classifier) -> Tensor:
        foolbox = import_foolbox()
        question = Question(classifier, batch.label.clone(), self.objective).eval()
        model = foolbox.PyTorchModel(question, bounds=(0, 1), device=batch.image.device)
        criterion = foolbox.criteria.Misclassification(torch.zeros_like(batch.sample))
        return self.search(model, batch.image.clone(), criterion).detach()

    @torch.no_grad()
    def _reached(self, image: Tensor, batch: Batch, classifier: Classifier) -> Tensor:
        return self.objective.reached(classifier(image), batch.label, classifier.task)


class Question(nn.Module):
    """A classifier with answers of its own: class 0 is "not what the attack wants", each other one a way to that.

    So a search for a misclassified image finds a wrong label of a multilabel task, or a target, as well. Of a
    multiclass task without a target the differences between logits are the classifier's.

    Args:
        classifier: the one under attack.
        label: of the images that it will be shown, shape (B,) or (B, K).
        objective: of the attack.
    """

    def __init__(self, classifier: Classifier, label: Tensor, objective: Objective) -> None:
        super().__init__()
        self.classifier = classifier
        self.label = label
        self.objective = objective

    def forward(self, image: Tensor) -> Tensor:
        """Images, shape (B, C, H, W), to logits, shape (B, 1 + M)."""
        ways = self.objective.leads(self.classifier(image), self.label, self.classifier.task).clamp(min=NEVER)
        return torch.cat([torch.zeros_like(ways[:, :1]), ways], 1)


def import_foolbox() -> ModuleType:
    """Foolbox, which is installed as an extra of this package.

    Raises:
        ImportError: it is not installed; the error says how to.
    """
    try:
        import foolbox
    except ImportError as error:
        raise ImportError(
            f"this attack needs foolbox ({error}). Install it: pip install 'dovision[attacks]'."
        ) from error
    return foolbox
