"""The fast gradient sign method."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dovision.attacks._gradients import input_gradient
from dovision.attacks._lp_ball import Ball
from dovision.attacks._objective import Objective
from dovision.attacks.losses import Loss, task_loss
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class FGSM(Attack):
    """One step up the loss, as long as the budget allows.

    Args:
        eps: one epsilon or several, in pixel units; numbers or fractions such as "8/255".
        norm: linf; l2 is the fast gradient method, without the sign.
        loss: what is raised.
        target: a class, name or number, as of `Objective`; None for any wrong answer.

    Source: arXiv:1412.6572.
    """

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        norm: str = "linf",
        loss: Loss = task_loss,
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, norm)
        self.objective = Objective(loss, target)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        gradient = input_gradient(batch.image, batch.label, classifier, self.objective)
        return ball.project(batch.image + eps * ball.steepest(gradient))
