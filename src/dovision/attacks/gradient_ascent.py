"""Attacks that climb a loss by its gradient: BIM, with momentum MI-FGSM, and as variants of it FGSM and PGD."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._objective import ObjectiveAttack, classify
from dovision.attacks.gradients import logits_and_gradient
from dovision.attacks.losses import Loss, task_loss
from dovision.attacks.lp_ball import Ball, column, scaled_to_one
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons


class BIM(ObjectiveAttack):
    """Basic iterative method: projected steepest ascent from the image itself.

    Args:
        eps, norm: as of Attack.
        steps: gradients per image.
        step_size: in pixel units; None is 2.5 * eps / steps.
        loss: what is raised.
        target: a class, name or number, as of `Objective`; None for any wrong answer.
        momentum: share that each step keeps of the sum of L1-normalised gradients so far; above 0 it is MI-FGSM.

    Source: arXiv:1607.02533; the step rule is that of arXiv:1706.06083, appendix; momentum: arXiv:1710.06081.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.BIM(eps="8/255", steps=5)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    reach = 2.5  # length of all steps together, in epsilons, if no step size is given

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        step_size: float | str | None = None,
        norm: str = "linf",
        loss: Loss = task_loss,
        target: int | str | None = None,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(eps, norm, loss, target)
        self.steps = checks.positive_int("steps", steps)
        self.momentum = checks.at_least("momentum", momentum, 0)
        self.step_size = None if step_size is None else checks.positive("step_size", step_size)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.climb(batch.image, Ball(batch.image, eps, self.norm), batch, classifier)

    def climb(self, start: Tensor, ball: Ball, batch: Batch, classifier: Classifier) -> Tensor:
        """Take the attack's steps from `start`, shape (B, C, H, W); returns images of that shape."""
        step_size = self.reach * ball.eps / self.steps if self.step_size is None else self.step_size
        image, direction = start, torch.zeros_like(start)
        for _ in range(self.steps):
            _, gradient = logits_and_gradient(image, batch.label, classifier, self.objective)
            scaled = scaled_to_one(gradient)  # 0 where it is not finite
            unit = scaled / column(scaled.abs().flatten(1).sum(1).clamp(min=1))  # of L1 norm 1
            direction = self.momentum * direction + unit if self.momentum else gradient
            image = ball.project(image + step_size * ball.steepest(direction))
        return image


class FGSM(BIM):
    """Fast gradient sign method: a single step of length eps.

    Args:
        eps, loss, target: as of BIM.
        norm: linf; l2 is the fast gradient method, without the sign.

    Source: arXiv:1412.6572.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.FGSM(eps="8/255")(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    reach = 1.0

    def __init__(
        self, eps: Epsilons, norm: str = "linf", loss: Loss = task_loss, target: int | str | None = None
    ) -> None:
        super().__init__(eps, 1, None, norm, loss, target)


class PGD(BIM):
    """Projected gradient descent: BIM from random starts.

    Of several starts the best is returned: for each image one that reaches the aim, and among equals that of the
    highest loss.

    Args:
        eps, step_size, norm, loss, target: as of BIM.
        steps: gradients per image and start.
        restarts: starts per image.
        seed: of the starts; each depends on (seed, sample, restart) alone.

    Source: arXiv:1706.06083.

    Example:
        >>> classifier, digits = dv.example()
        >>> attacked = dv.PGD(eps="8/255", steps=5)(digits, classifier)
        >>> round(float(255 * (attacked - digits.image).abs().max()), 3)
        8.0
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        step_size: float | str | None = None,
        restarts: int = 1,
        norm: str = "linf",
        loss: Loss = task_loss,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, steps, step_size, norm, loss, target)
        self.restarts = checks.positive_int("restarts", restarts)
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        starts = (ball.draw(batch.sample, self.seed, restart) for restart in range(self.restarts))
        ends = (self.climb(start, ball, batch, classifier) for start in starts)
        if self.restarts == 1:
            return next(ends)
        best = classify(next(ends), batch, classifier, self.objective)
        for image in ends:
            best = best.or_better(classify(image, batch, classifier, self.objective))
        return best.image
