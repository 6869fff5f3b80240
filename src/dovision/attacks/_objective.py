"""The objective of an attack: the answer that it wants of the classifier, and the best images so far."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.losses import Loss, leads, margin
from dovision.attacks.lp_ball import Ball, column
from dovision.functional.norms import size
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Epsilons, Shape, Task


class Objective:
    """Objective of an attack, untargeted or targeted: the number it maximises, and its condition of success.

    Without a target the loss of the label is raised, over all known labels if there are several, and the aim is
    reached once the image's answer is wrong: another class; or, multilabel, at least one known label answered wrongly.

    A target of a multiclass task is the class to be predicted: its own loss is lowered, and the aim is reached once it
    is predicted. A target of a multilabel task is the label whose answer alone is to be wrong: only its loss is raised,
    and the aim is reached once that answer is wrong; never for an image of which that label is not known.

    Args:
        loss: what is raised.
        target: the name or the number of a class; None for any wrong answer.
    """

    def __init__(self, loss: Loss, target: int | str | None) -> None:
        self.loss = loss
        self.target = target if target is None or isinstance(target, str) else checks.count("target", target)

    def check(self, task: Task) -> None:
        """Raise if the task lacks the target, or if the loss is undefined for it.

        Raises:
            ValueError: there is no such class; or see the loss.
        """
        label = torch.zeros(1, len(task.classes)) if task.multilabel else torch.zeros(1, dtype=torch.long)
        self(torch.zeros(1, len(task.classes)), label, task)

    def __call__(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        """Objective to maximise, shape (B,), from logits, shape (B, K); usable as a loss."""
        value = self.loss(logits, self._subject(label, task), task)
        return -value if self._towards(task) else value

    def reached(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        """Return whether the classifier gives the wanted answer, shape (B,) bool."""
        correct = task.correct(task.probability(logits), self._subject(label, task))
        return correct if self._towards(task) else ~correct

    def leads(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        """Lead of each wanted answer, in logits, shape (B, M); the aim is reached where one is positive."""
        lead = leads(logits, self._subject(label, task), task)
        return -lead.amax(1, keepdim=True) if self._towards(task) else lead

    def _towards(self, task: Task) -> bool:
        return self.target is not None and not task.multilabel

    def _subject(self, label: Tensor, task: Task) -> Tensor:
        """Label that the loss refers to: the image's own, the target, or only the target's entry of the image's own."""
        if self.target is None:
            return label
        chosen = task.number_of(self.target)
        if not task.multilabel:
            return torch.full_like(label, chosen)
        alone = torch.full_like(label, torch.nan, dtype=torch.float32)
        alone[:, chosen] = label[:, chosen].float()
        return alone


class ObjectiveAttack(Attack):
    """An attack that raises an objective.

    Args:
        eps, norm: as of Attack.
        loss: what is raised.
        target: a class, name or number, as of `Objective`; None for any wrong answer.
    """

    def __init__(self, eps: Epsilons, norm: str, loss: Loss, target: int | str | None) -> None:
        super().__init__(eps, norm)
        self.objective = Objective(loss, target)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.objective.check(classifier.task)

    @torch.no_grad()
    def reached(self, image: Tensor, batch: Batch, classifier: Classifier) -> Tensor:
        """Return whether images, shape (B, C, H, W), reach the aim given the batch's labels; shape (B,) bool."""
        return self.objective.reached(classifier(image), batch.label, classifier.task)


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


class Candidates(NamedTuple):
    """Candidate images, one per image, with the classifier's outputs."""

    image: Tensor  # (B, C, H, W)
    reached: Tensor  # (B,) bool, whether the aim is reached
    loss: Tensor  # (B,) what is raised

    def or_better(self, other: Candidates) -> Candidates:
        """Better of two candidates per image: one that reaches the aim first, then the one of higher loss."""
        better = (other.reached & ~self.reached) | ((other.reached == self.reached) & (other.loss > self.loss))
        return self.replaced(better, other)

    def updated(self, rows: Tensor, other: Candidates) -> Candidates:
        """Replace these rows by the other's candidates where those are better."""
        better = Candidates(*(field[rows] for field in self)).or_better(other)
        return Candidates(*(old.index_copy(0, rows, new) for old, new in zip(self, better, strict=True)))

    def replaced(self, where: Tensor, other: Candidates) -> Candidates:
        """Take the other's rows where `where`, shape (B,) bool, is true."""
        return Candidates(
            torch.where(column(where), other.image, self.image),
            torch.where(where, other.reached, self.reached),
            torch.where(where, other.loss, self.loss),
        )


class Towards:
    """Loss that rises towards one wrong answer per image; see `Objective`.

    The lead of the answer, by the distance between the largest logit and the mean of the third and the fourth; of fewer
    than 4 classes, and of a multilabel task, the lead itself. Zero for the answer that is right, or not known to be
    wrong.

    Args:
        answer: the numbers of the answers, shape (B,): classes, or the labels that are to be answered wrongly.

    Source: arXiv:2003.01690, equation 7.
    """

    def __init__(self, answer: Tensor) -> None:
        self.answer = answer

    def __call__(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        lead = leads(logits, label, task).gather(1, self.answer.unsqueeze(1)).squeeze(1)
        lead = lead.masked_fill(lead.isneginf(), 0)
        if task.multilabel or len(task.classes) < 4:
            return lead
        ranked = logits.topk(4).values
        return lead / (ranked[:, 0] - ranked[:, 2:].mean(1)).clamp(min=torch.finfo(logits.dtype).tiny)


def likeliest_answers(logits: Tensor, label: Tensor, task: Task, most: int) -> Tensor:
    """Numbers of the leading wrong answers, shape (B, M), M at most the number of classes minus one.

    Args:
        logits: shape (B, K).
        label: as of a Batch.
        task: of the classifier.
        most: at least 1.
    """
    count = min(most, max(len(task.classes) - 1, 1))
    return leads(logits, label, task).topk(count).indices


@torch.no_grad()
def classify(image: Tensor, batch: Batch, classifier: Classifier, objective: Objective) -> Candidates:
    """Evaluate candidates, shape (B, C, H, W), in place of the batch's images."""
    return judge(image, classifier(image), batch, classifier, objective)


def judge(image: Tensor, logits: Tensor, batch: Batch, classifier: Classifier, objective: Objective) -> Candidates:
    """Candidates from images, shape (B, C, H, W), and their logits, shape (B, K)."""
    task = classifier.task
    return Candidates(image, objective.reached(logits, batch.label, task), objective(logits, batch.label, task))
