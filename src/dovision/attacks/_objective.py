"""The objective of an attack: the answer that it wants of the classifier, and the best images so far."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._lp_ball import column
from dovision.attacks.losses import Loss, leads
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Epsilons, Shape, Task


class Objective:
    """Any wrong answer, or a chosen one: the number that an attack raises, and when it has got what it wants.

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
        self.loss = checks.function("loss", loss, "a loss such as task_loss")
        self.target = target if target is None or isinstance(target, str) else checks.count("target", target)

    def check(self, task: Task) -> None:
        """Refuse a task that has not the target, or for which the loss is not defined.

        Raises:
            ValueError: there is no such class; or see the loss.
        """
        label = torch.zeros(1, len(task.classes)) if task.multilabel else torch.zeros(1, dtype=torch.long)
        self(torch.zeros(1, len(task.classes)), label, task)

    def __call__(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        """Objective that is raised, shape (B,), from logits, shape (B, K); itself a loss."""
        value = self.loss(logits, self._subject(label, task), task)
        return -value if self._towards(task) else value

    def reached(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        """Return whether the classifier answers as the attack wants, shape (B,) bool."""
        correct = task.correct(task.probability(logits), self._subject(label, task))
        return correct if self._towards(task) else ~correct

    def leads(self, logits: Tensor, label: Tensor, task: Task) -> Tensor:
        """Lead, in logits, of each answer that the attack wants, shape (B, M); reached where one is above zero."""
        lead = leads(logits, self._subject(label, task), task)
        return -lead.amax(1, keepdim=True) if self._towards(task) else lead

    def _towards(self, task: Task) -> bool:
        return self.target is not None and not task.multilabel

    def _subject(self, label: Tensor, task: Task) -> Tensor:
        """The label that the loss is about: the image's own, the target, or the image's own for the target alone."""
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
        """Return whether images, shape (B, C, H, W), of a batch's labels are answered as wanted; shape (B,) bool."""
        return self.objective.reached(classifier(image), batch.label, classifier.task)


class Candidates(NamedTuple):
    """Candidates, one an image, and what the classifier makes of them."""

    image: Tensor  # (B, C, H, W)
    reached: Tensor  # (B,) bool, whether the aim is reached
    loss: Tensor  # (B,) what is raised

    def or_better(self, other: Candidates) -> Candidates:
        """Better candidate of each image: the one that reaches the aim, and among equals that of the higher loss."""
        better = (other.reached & ~self.reached) | ((other.reached == self.reached) & (other.loss > self.loss))
        return self.replaced(better, other)

    def updated(self, rows: Tensor, other: Candidates) -> Candidates:
        """The other's, which are those of these rows, where they are better."""
        better = Candidates(*(field[rows] for field in self)).or_better(other)
        return Candidates(*(old.index_copy(0, rows, new) for old, new in zip(self, better, strict=True)))

    def replaced(self, where: Tensor, other: Candidates) -> Candidates:
        """The other's in the rows of `where`, shape (B,) bool."""
        return Candidates(
            torch.where(column(where), other.image, self.image),
            torch.where(where, other.reached, self.reached),
            torch.where(where, other.loss, self.loss),
        )


class Towards:
    """The loss that rises towards one wrong answer of each image; see `Objective`, to which it is a loss.

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
    """Numbers of the wrong answers that lead most, shape (B, M), at most so many and one fewer than there are classes.

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
    """Candidates of these images, shape (B, C, H, W), in place of the batch's own."""
    return judge(image, classifier(image), batch, classifier, objective)


def judge(image: Tensor, logits: Tensor, batch: Batch, classifier: Classifier, objective: Objective) -> Candidates:
    """Candidates of images, shape (B, C, H, W), from their logits, shape (B, K)."""
    task = classifier.task
    return Candidates(image, objective.reached(logits, batch.label, task), objective(logits, batch.label, task))
