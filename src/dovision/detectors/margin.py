"""Margin between the predicted class and the runner-up."""

from __future__ import annotations

from torch import Tensor

from dovision.detectors._logit_cache import logits_of
from dovision.detectors._softmax_confidence import doubt
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Task


class Margin(Detector):
    """One minus the difference between the two highest class probabilities; nothing to fit.

    Multilabel: the same of the two likeliest combinations of labels, taken as independent; the second one differs from
    the first in the label that is least sure.
    """

    passes = 1

    def read_features(self, batch: Batch, classifier: Classifier, inserted: Classifier | None) -> Tensor:
        return closeness(logits_of(batch.image, classifier), classifier.task).unsqueeze(1)

    def score_features(self, features: Tensor) -> Tensor:
        return features[:, 0]


def closeness(logits: Tensor, task: Task) -> Tensor:
    """One minus the lead of the likeliest over the second, in probability; shape (B,) from logits, shape (B, K)."""
    not_first = doubt(logits, task)
    if task.multilabel:
        return not_first + (1 - not_first) * (-logits.abs().amin(-1)).exp()
    return not_first + logits.softmax(-1).topk(2).values[:, 1]
