"""What an attack raises, one number an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dovision.contracts import Task

Loss = Callable[[Tensor, Tensor, Task], Tensor]  # (logits (B, K), label, task) -> (B,)


def task_loss(logits: Tensor, label: Tensor, task: Task) -> Tensor:
    """The loss that the classifier was trained with, in nats; shape (B,)."""
    return task.loss(logits, label)


def margin(logits: Tensor, label: Tensor, task: Task) -> Tensor:
    """By how much the label's logit is beaten, shape (B,); its gradient does not vanish where the softmax saturates.

    Multiclass: the best other logit minus the label's. Multilabel: the sum over the labels of the logit's size,
    negative where it has the label's sign.

    Source: arXiv:1608.04644, the loss f6.
    """
    if task.multilabel:
        return (logits * (1 - 2 * label.to(logits))).sum(-1)
    own = torch.zeros_like(logits, dtype=torch.bool).scatter(1, label.unsqueeze(1), True)
    return logits.masked_fill(own, -torch.inf).amax(1) - logits.gather(1, label.unsqueeze(1)).squeeze(1)
