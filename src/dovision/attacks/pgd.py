"""Projected gradient descent."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dovision import checks
from dovision.attacks._ascent import Ascent
from dovision.attacks._best_so_far import classify
from dovision.attacks._lp_ball import Ball
from dovision.attacks._objective import Objective
from dovision.attacks.losses import Loss, task_loss
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class PGD(Attack):
    """Several steps up the loss from a random start, and the best of several starts.

    The best is, for each image, the one that reaches the aim, and among equals the one with the highest loss.

    Args:
        eps: one epsilon or several, in pixel units; numbers or fractions such as "8/255".
        steps: gradients per image and start.
        step_size: in pixel units; None is 2.5 * eps / steps.
        restarts: starts per image.
        norm: linf or l2.
        loss: what is raised.
        target: a class, name or number, as of `Objective`; None for any wrong answer.
        seed: of the starts; each depends on (seed, sample, restart) alone.

    Source: arXiv:1706.06083; the step rule is its appendix's.
    """

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        steps: int,
        step_size: float | str | None = None,
        restarts: int = 1,
        norm: str = "linf",
        loss: Loss = task_loss,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, norm)
        self.objective = Objective(loss, target)
        self.ascent = Ascent(self.objective, steps, step_size)
        self.restarts = checks.positive_int("restarts", restarts)
        self.seed = checks.count("seed", seed)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        image = self._from_random_start(ball, batch, classifier, restart=0)
        if self.restarts == 1:
            return image
        best = classify(image, batch, classifier, self.objective)
        for restart in range(1, self.restarts):
            image = self._from_random_start(ball, batch, classifier, restart)
            best = best.or_better(classify(image, batch, classifier, self.objective))
        return best.image

    def _from_random_start(self, ball: Ball, batch: Batch, classifier: Classifier, restart: int) -> Tensor:
        start = ball.draw(batch.sample, self.seed, restart)
        return self.ascent(ball, start, batch, classifier)
