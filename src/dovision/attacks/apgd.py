"""Projected gradient descent that chooses its own step sizes, untargeted or towards wrong answers in turn."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._objective import Candidates, Objective, Towards, classify, judge, likeliest_answers
from dovision.attacks.gradient_ascent import PGD
from dovision.attacks.gradients import logits_and_gradient
from dovision.attacks.losses import Loss, margin, task_loss
from dovision.attacks.lp_ball import Ball, column
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons

MOMENTUM = 0.75  # share of a step that is new; the rest goes on as before
PROGRESS = 0.75  # share of the steps that must raise the loss for a step size to be kept


class APGD(PGD):
    """Gradient ascent whose steps start at 2 * eps and are halved, per image, when the loss stops rising.

    Of all steps and starts the best is kept: for each image the one that reaches the aim, and among equals the one
    with the highest loss.

    Args:
        eps, steps, restarts, norm, loss, target, seed: as of PGD.

    Source: arXiv:2003.01690, algorithm 1; the attack that AutoAttack begins with.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.APGD(eps="8/255", steps=5)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int,
        restarts: int = 1,
        norm: str = "linf",
        loss: Loss = task_loss,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, steps, None, restarts, norm, loss, target, seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.search(Ball(batch.image, eps, self.norm), batch, classifier, self.objective).image

    def search(self, ball: Ball, batch: Batch, classifier: Classifier, objective: Objective) -> Candidates:
        """Best images over all starts."""
        best = self._climb(ball, batch, classifier, objective, restart=0)
        for restart in range(1, self.restarts):
            best = best.or_better(self._climb(ball, batch, classifier, objective, restart))
        return best

    def _climb(
        self, ball: Ball, batch: Batch, classifier: Classifier, objective: Objective, restart: int
    ) -> Candidates:
        now = highest = _stand(ball.draw(batch.sample, self.seed, restart), batch, classifier, objective)
        best, before = now.candidates, now.candidates.image
        pace = StepSizes(self.steps, 2 * ball.eps, now.candidates.loss)
        for step in range(1, self.steps + 1):
            image = ahead = ball.project(now.candidates.image + column(pace.size) * ball.steepest(now.gradient))
            if step > 1:
                moved = MOMENTUM * (ahead - now.candidates.image) + (1 - MOMENTUM) * (now.candidates.image - before)
                image = ball.project(now.candidates.image + moved)
            if step == self.steps:  # no gradient is needed any more
                best = best.or_better(classify(image, batch, classifier, objective))
                break
            before, now = now.candidates.image, _stand(image, batch, classifier, objective)
            best = best.or_better(now.candidates)
            highest = highest.replaced(now.candidates.loss > highest.candidates.loss, now)
            now = now.replaced(pace.halve(step, now.candidates.loss), highest)
        return best


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


class _AscentState(NamedTuple):
    """Current images of the attack, and the gradient at them."""

    candidates: Candidates
    gradient: Tensor  # (B, C, H, W)

    def replaced(self, where: Tensor, other: _AscentState) -> _AscentState:
        """Take the other's rows where `where`, shape (B,) bool, is true."""
        gradient = torch.where(column(where), other.gradient, self.gradient)
        return _AscentState(self.candidates.replaced(where, other.candidates), gradient)


def _stand(image: Tensor, batch: Batch, classifier: Classifier, objective: Objective) -> _AscentState:
    logits, gradient = logits_and_gradient(image, batch.label, classifier, objective)
    return _AscentState(judge(image, logits, batch, classifier, objective), gradient)


class StepSizes:
    """Step size per image, halved at checkpoints.

    Args:
        steps: of the whole attack.
        first: the step size that each image begins with, in pixel units.
        loss: before the first step, shape (B,).
    """

    def __init__(self, steps: int, first: float, loss: Tensor) -> None:
        self.size = torch.full_like(loss, first)  # (B,) in pixel units
        self._checkpoints = checkpoints(steps)
        self._last = 0  # checkpoint
        self._loss = self._highest = self._highest_then = loss
        self._rises = torch.zeros_like(loss)  # steps that raised the loss since the last checkpoint
        self._halved = torch.zeros_like(loss, dtype=torch.bool)  # at the last checkpoint

    def halve(self, step: int, loss: Tensor) -> Tensor:
        """Review step sizes after this step, counted from 1; return which were halved, shape (B,) bool.

        It is, at a checkpoint, if too few steps since the last one raised the loss; or if the step size was kept then
        and the highest loss has stayed the same since. Such an image is to go on from where its loss was highest.

        Args:
            loss: after the step, shape (B,).
        """
        self._rises = self._rises + (loss > self._loss)
        self._loss, self._highest = loss, torch.fmax(self._highest, loss)
        if step not in self._checkpoints:
            return torch.zeros_like(self._halved)
        few = self._rises < PROGRESS * (step - self._last)
        stuck = ~self._halved & (self._highest == self._highest_then)
        self._halved = few | stuck
        self.size = torch.where(self._halved, self.size / 2, self.size)
        self._loss = torch.where(self._halved, self._highest, loss)
        self._last, self._highest_then, self._rises = step, self._highest, torch.zeros_like(loss)
        return self._halved


def checkpoints(steps: int) -> list[int]:
    """Steps at which step sizes are reviewed: after 22% of all steps, then at shrinking intervals.

    Each gap is 3% of all steps shorter than the one before it, but at least 6%.
    """
    percent, gap, steps_reviewed = 22, 22, []
    while percent <= 100:
        steps_reviewed.append(-(-percent * steps // 100))  # rounded up
        gap = max(gap - 3, 6)
        percent += gap
    return sorted(set(steps_reviewed))
