"""Detectors that read the confidence of the classifier; exact where probabilities saturate.

The labels of a multilabel task are taken as independent. What is likeliest is then a combination of labels, each as
its probability has it (above a half or not, whatever the thresholds), and its probability is a product.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.detectors._outputs import logits_of
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Task

UNSURE, SURE, EITHER = "unsure", "sure", "either"


def logit_entropy(logits: Tensor, task: Task) -> Tensor:
    """Entropy of P(y | x) in nats, shape (B,), from logits, shape (B, K)."""
    if task.multilabel:
        present_or_not = torch.stack([logits, -logits])
        return -(present_or_not.sigmoid() * F.logsigmoid(present_or_not)).sum((0, -1))
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


class MaxSoftmax(Detector):
    """Score by the maximum softmax probability p: 1 - p, p - 1, or the distance of its log-odds from clean images'.

    Multilabel: p is the probability of the likeliest combination of labels.

    Args:
        score: the answers that score high: `unsure` ones (1 - p), `sure` ones (p - 1), as strong attacks leave them, or
            `either`: the distance of the log-odds from their median over clean images, each side in units of its
            distance to the quantile beyond which 5% of clean images lie.

    Source: Hendrycks and Gimpel, arXiv:1610.02136, for unsure answers.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.MaxSoftmax()
        >>> detector.score(detector.read(digits, classifier)).shape
        torch.Size([8])
    """

    passes = 1
    low: float  # 5% quantile of the log-odds of clean images
    median: float
    high: float  # 95% quantile

    def __init__(self, score: str = UNSURE) -> None:
        self.answers = checks.choice("score", score, (UNSURE, SURE, EITHER))

    @property
    def needs_fit(self) -> bool:
        return self.answers == EITHER

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        """1 - p, or the log-odds of p, shape (B, 1)."""
        logits, task = logits_of(batch.image, classifier), classifier.task
        odds = logits.abs() if task.multilabel else task.log_odds(logits).amax(-1, keepdim=True)
        likeliest = F.logsigmoid(odds).sum(-1, keepdim=True)  # of the likeliest class, or label combination
        doubt = -likeliest.expm1()  # accurate near p = 1
        if self.answers != EITHER:
            return doubt
        return likeliest - doubt.clamp(min=torch.finfo(likeliest.dtype).tiny).log()

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.low, self.median, self.high = np.quantile(clean.double().cpu().numpy(), [0.05, 0.5, 0.95]).tolist()

    def score_features(self, features: Tensor) -> Tensor:
        if self.answers != EITHER:
            return features[:, 0] if self.answers == UNSURE else -features[:, 0]
        from_median = features[:, 0] - self.median
        unit = torch.where(from_median > 0, self.high - self.median, self.median - self.low)
        return from_median.abs() / unit.clamp(min=1e-6)


class Entropy(Detector):
    """Entropy of the class probabilities, in nats.

    Multilabel: the sum of the labels' entropies, which is that of the combination of labels.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.Entropy()
        >>> detector.score(detector.read(digits, classifier)).shape
        torch.Size([8])
    """

    passes = 1

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        return logit_entropy(logits_of(batch.image, classifier), classifier.task).unsqueeze(1)
