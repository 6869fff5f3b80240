"""DeepFool: the nearest adversarial image, by steps to the nearest boundary as if the classifier were linear."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._lp_ball import column
from dovision.attacks._nearest import NearestAttack
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons

_NEVER = -1e6  # lead of an answer that cannot be reached, such as the right one
_STABLE = 1e-4  # pixel units that each step goes further
_SMALLEST = 1e-8  # added to norms of gradients


class DeepFool(NearestAttack):
    """Steps to the nearest linearised decision boundary; an image stops once it crosses one.

    Args:
        eps, norm, target: as of NearestAttack.
        steps: at most, each a forward pass and a gradient for each class.
        overshoot: share by which the step goes beyond the boundary.
        candidates: only so many classes, the most likely ones of the clean image, are considered; at least 2.

    Source: Moosavi-Dezfooli, Fawzi and Frossard, arXiv:1511.04599.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.DeepFool(eps="8/255", steps=5)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        overshoot: float = 0.02,
        candidates: int = 10,
        norm: str = "linf",
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, norm, target)
        self.steps = checks.positive_int("steps", steps)
        self.overshoot = checks.at_least("overshoot", overshoot, 0)
        self.candidates = int(checks.at_least("candidates", candidates, 2))

    def nearest(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        image, moved = batch.image, torch.zeros_like(batch.image)
        with torch.no_grad():
            leads = self._leads(image, batch, classifier)
        answers = leads.topk(min(self.candidates - 1, leads.shape[1])).indices
        rows = torch.arange(len(image), device=image.device)
        for _ in range(self.steps):
            leaf = image[rows].requires_grad_()
            leads = self._leads(leaf, batch.rows(rows), classifier)
            standing = leads.detach().amax(1) <= 0
            if not standing.any():
                break
            step = self._step(leads, answers[rows], leaf)[standing]
            rows = rows[standing]
            moved = moved.index_add(0, rows, step)
            further = (batch.image[rows] + (1 + self.overshoot) * moved[rows]).clamp(0, 1)
            image = image.index_copy(0, rows, further)
        return image

    def _leads(self, image: Tensor, batch: Batch, classifier: Classifier) -> Tensor:
        return self.objective.leads(classifier(image), batch.label, classifier.task).clamp(min=_NEVER)

    def _step(self, leads: Tensor, answers: Tensor, leaf: Tensor) -> Tensor:
        """Step to the nearest boundary, shape (B, C, H, W).

        Args:
            leads: of all answers, shape (B, K), as they follow from `leaf`.
            answers: numbers of those that are considered, shape (B, M).
            leaf: the images.
        """
        chosen = leads.gather(1, answers)
        by_answer = [torch.autograd.grad(lead.sum(), leaf, retain_graph=True)[0] for lead in chosen.unbind(1)]
        gradients = torch.stack(by_answer, 1)  # (B, M, C, H, W)
        dual = gradients.flatten(2).norm(p=1 if self.norm == "linf" else 2, dim=2) + _SMALLEST
        distance, nearest = (chosen.detach().abs() / dual).min(1)
        rows = torch.arange(len(leaf), device=leaf.device)
        gradient, size = gradients[rows, nearest], column(dual[rows, nearest])
        return column(distance + _STABLE) * (gradient.sign() if self.norm == "linf" else gradient / size)
