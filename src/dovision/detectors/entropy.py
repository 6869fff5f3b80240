"""The spread of the probability over the classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.detectors._logit_cache import logits_of
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Task


class Entropy(Detector):
    """Entropy of the class probabilities, in nats; nothing to fit.

    Multilabel: the sum of the labels' entropies, which is that of the combination of labels, taken as independent.
    """

    passes = 1

    def read_features(self, batch: Batch, classifier: Classifier, inserted: Classifier | None) -> Tensor:
        return logit_entropy(logits_of(batch.image, classifier), classifier.task).unsqueeze(1)

    def score_features(self, features: Tensor) -> Tensor:
        return features[:, 0]


def logit_entropy(logits: Tensor, task: Task) -> Tensor:
    """Entropy of P(y | x) in nats, shape (B,), from logits, shape (B, K)."""
    if task.multilabel:
        present_or_not = torch.stack([logits, -logits])
        return -(present_or_not.sigmoid() * F.logsigmoid(present_or_not)).sum((0, -1))
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
