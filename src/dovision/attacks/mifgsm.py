"""The momentum iterative fast gradient sign method."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dovision.attacks._ascent import Ascent
from dovision.attacks._lp_ball import Ball
from dovision.attacks._objective import Objective
from dovision.attacks.losses import Loss, task_loss
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class MIFGSM(Attack):
    """BIM along a sum of all gradients so far, each by its L1 norm.

    Args:
        eps: one epsilon or several, in pixel units; numbers or fractions such as "8/255".
        steps: gradients per image.
        step_size: in pixel units; None is 2.5 * eps / steps (the source takes eps / steps).
        momentum: share of the sum so far that each step keeps; 0 is BIM.
        norm: linf or l2.
        loss: what is raised.
        target: a class, name or number, as of `Objective`; None for any wrong answer.

    Source: arXiv:1710.06081.
    """

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        steps: int,
        step_size: float | str | None = None,
        momentum: float = 1.0,
        norm: str = "linf",
        loss: Loss = task_loss,
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, norm)
        self.objective = Objective(loss, target)
        self.ascent = Ascent(self.objective, steps, step_size, momentum)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.ascent(Ball(batch.image, eps, self.norm), batch.image, batch, classifier)
