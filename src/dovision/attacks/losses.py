"""Losses that an attack raises, one number an image: how far the classifier is from the right answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dovision.types import Task

Loss = Callable[[Tensor, Tensor, Task], Tensor]  # (logits (B, K), label, task) -> (B,)


def task_loss(logits: Tensor, label: Tensor, task: Task) -> Tensor:
    """Training loss of the classifier's task, in nats, shape (B,).

    Cross-entropy, or the sum of the known labels' binary cross-entropies.

    Args:
        logits: shape (B, K).
        label: of each image, shape (B,) int64, or (B, K) of zeros, ones and, where it is not known, nan for multilabel.
        task: the classes.

    Example:
        >>> import torch
        >>> dv.task_loss(torch.zeros(1, 4), torch.tensor([0]), dv.Task("multiclass", ("a", "b", "c", "d")))
        tensor([1.3863])
    """
    return task.loss(logits, label)


def margin(logits: Tensor, label: Tensor, task: Task) -> Tensor:
    """Margin of the best wrong answer over the label, in logits, shape (B,); does not saturate like softmax.

    Multiclass: the best other logit minus the label's. Multilabel: the sum over the known labels of how far the logit
    lies from its threshold, negative on the side of the right answer.

    Args:
        logits: shape (B, K).
        label: of each image, shape (B,) int64, or (B, K) of zeros, ones and, where it is not known, nan for multilabel.
        task: the classes.

    Source: arXiv:1608.04644, the loss f6.

    Example:
        >>> import torch
        >>> dv.margin(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]), dv.Task("multiclass", ("a", "b", "c")))
        tensor([-1.])
    """
    lead = leads(logits, label, task)
    return lead.masked_fill(lead.isneginf(), 0).sum(1) if task.multilabel else lead.amax(1)


def dlr(logits: Tensor, label: Tensor, task: Task) -> Tensor:
    """Difference of logits ratio, shape (B,) in [-1, 1]: the margin, invariant to the scale of the logits.

    The margin is divided by the distance between the largest and the third largest logit.

    Args:
        logits: shape (B, K).
        label: of each image, shape (B,) int64.
        task: the classes.

    Raises:
        ValueError: the task is multilabel, or has fewer than 3 classes.

    Source: arXiv:2003.01690, equation 6.

    Example:
        >>> import torch
        >>> dv.dlr(torch.tensor([[2.0, 1.0, 0.0, 0.0]]), torch.tensor([0]), dv.Task("multiclass", ("a", "b", "c", "d")))
        tensor([-0.5000])
    """
    if task.multilabel or len(task.classes) < 3:
        raise ValueError(
            f"the loss dlr needs a multiclass task of at least 3 classes, got a {task.kind} one of "
            f"{len(task.classes)}. Take the loss margin."
        )
    ranked = logits.topk(3).values
    spread = (ranked[:, 0] - ranked[:, 2]).clamp(min=torch.finfo(logits.dtype).tiny)
    return margin(logits, label, task) / spread


def leads(logits: Tensor, label: Tensor, task: Task) -> Tensor:
    """Lead of each wrong answer, in logits, shape (B, K); the prediction is correct where none is positive.

    Multiclass: each logit minus the label's, and -inf for the label. Multilabel: how far each logit lies beyond its
    label's threshold, on the wrong side, and -inf for a label that is not known.
    """
    if task.multilabel:
        threshold = torch.logit(logits.new_tensor(task.thresholds or 0.5), eps=1e-6)
        lead = (logits - threshold) * (1 - 2 * label.nan_to_num().to(logits))
        return lead.masked_fill(~label.isfinite(), -torch.inf)
    index = label.unsqueeze(1)
    return (logits - logits.gather(1, index)).scatter(1, index, -torch.inf)
