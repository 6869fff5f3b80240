"""Confidence of a classifier in its likeliest labels, exact where probabilities saturate.

The labels of a multilabel task are taken as independent. What is likeliest is then a combination of labels, each as
its probability has it (above a half or not, whatever the thresholds), and its probability is a product.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dovision.types import Task


def log_likeliest(logits: Tensor, task: Task) -> Tensor:
    """Log-probability of the likeliest class, or of the likeliest combination of labels; shape (B,) from (B, K)."""
    if task.multilabel:
        return F.logsigmoid(logits.abs()).sum(-1)
    return F.logsigmoid(task.log_odds(logits).amax(-1))


def doubt(logits: Tensor, task: Task) -> Tensor:
    """One minus the probability of the likeliest, shape (B,), without rounding where that is near 1."""
    return -log_likeliest(logits, task).expm1()
