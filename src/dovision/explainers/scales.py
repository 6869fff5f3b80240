"""On which scale evidence for a class is measured."""

from __future__ import annotations

from torch import Tensor

from dovision.contracts import Task

SCALES = ("probability", "log_odds")


def evidence(logits: Tensor, task: Task, scale: str) -> Tensor:
    """P(y | x), or its log-odds, which a saturated softmax does not hide; shape (..., K)."""
    return task.log_odds(logits) if scale == "log_odds" else task.probability(logits)
