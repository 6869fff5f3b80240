"""The classes of which an image's effects are kept as rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dovision.config.keep import KEEP_ALL, KEEP_LABELS, KEEP_PREDICTED, KEEP_SUMMARY, KEEP_TOP
from dovision.types import Task


def kept_classes(keep: str, top_k: int, task: Task, label: Tensor, controls: Sequence[Tensor]) -> Tensor:
    """Mask of classes whose rows are kept, shape (B, K) bool, on the CPU; equal in each condition.

    Args:
        keep: all; predicted (what is predicted in any condition, and the labels); labels; top_k (the likeliest classes
            of any condition); or summary (none).
        top_k: how many, of a condition.
        task: the meaning of the classes. A multilabel image of which nothing is predicted keeps the likeliest class.
        label: shape (B,) or (B, K); of an unknown one there is none.
        controls: logits of the images in each condition, shapes (B, K).
    """
    shape = controls[0].shape
    if keep in (KEEP_ALL, KEEP_SUMMARY):
        return torch.full(shape, keep == KEEP_ALL)
    mask = torch.zeros(shape, dtype=torch.bool)
    if keep in (KEEP_LABELS, KEEP_PREDICTED):
        mask |= _present(label.cpu(), task, shape[1])
    for logits in controls if keep != KEEP_LABELS else ():
        probability = task.probability(logits.detach().float().cpu())
        most = min(top_k if keep == KEEP_TOP else 1, shape[1])
        mask.scatter_(1, probability.topk(most).indices, True)
        if keep == KEEP_PREDICTED and task.multilabel:
            mask |= task.prediction(probability).bool()
    return mask


def _present(label: Tensor, task: Task, classes: int) -> Tensor:
    if task.multilabel:
        return label == 1
    return (label >= 0).unsqueeze(1) & (torch.arange(classes) == label.unsqueeze(1))
