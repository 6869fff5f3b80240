"""APGD towards wrong answers, one after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._objective import Objective, Towards, judge, likeliest_answers
from dovision.attacks.apgd import APGD
from dovision.attacks.losses import margin
from dovision.attacks.lp_ball import Ball
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons


class TargetedAPGD(APGD):
    """APGD towards each of the leading wrong answers in turn, until one is reached.

    What is raised is the lead of the answer over the right one, by the distance between the largest logit and the mean
    of the third and the fourth (the targeted difference of logits ratio); of fewer than 4 classes, and of a multilabel
    task, whose answers are its labels, the lead itself. An image that is wrong when clean stays as it is.

    Args:
        eps, restarts, norm, seed: as of APGD.
        steps: gradients per image, answer and start.
        targets: answers that are tried at most.

    Source: arXiv:2003.01690, equation 7; the attack APGD-T of AutoAttack.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.TargetedAPGD(eps="8/255", steps=5, targets=2)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self, eps: Epsilons, steps: int, targets: int = 9, restarts: int = 1, norm: str = "linf", seed: int = 0
    ) -> None:
        super().__init__(eps, steps, restarts, norm, margin, None, seed)
        self.targets = checks.positive_int("targets", targets)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        with torch.no_grad():
            logits = classifier(batch.image)
        best = judge(batch.image, logits, batch, classifier, self.objective)
        best = best._replace(loss=torch.full_like(best.loss, -torch.inf))  # of another objective than those to come
        answers = likeliest_answers(logits, batch.label, classifier.task, self.targets)
        for answer in answers.unbind(1):
            rows = (~best.reached).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            ball, objective = Ball(batch.image[rows], eps, self.norm), Objective(Towards(answer[rows]), None)
            best = best.updated(rows, self.search(ball, batch.rows(rows), classifier, objective))
        return best.image
