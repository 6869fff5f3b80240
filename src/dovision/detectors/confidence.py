"""Detectors that read the confidence of the classifier, and fit nothing; exact where probabilities saturate.

The labels of a multilabel task are taken as independent. What is likeliest is then a combination of labels, each as
its probability has it (above a half or not, whatever the thresholds), and its probability is a product.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.detectors._logit_cache import logits_of
from dovision.interfaces import Classifier, Detector
from dovision.module_state import differentiable
from dovision.types import Batch, Task


def log_likeliest(logits: Tensor, task: Task) -> Tensor:
    """Log-probability of the likeliest class, or of the likeliest combination of labels; shape (B,) from (B, K)."""
    if task.multilabel:
        return F.logsigmoid(logits.abs()).sum(-1)
    return F.logsigmoid(task.log_odds(logits).amax(-1))


def doubt(logits: Tensor, task: Task) -> Tensor:
    """One minus the probability of the likeliest, shape (B,), without rounding where that is near 1."""
    return -log_likeliest(logits, task).expm1()


def closeness(logits: Tensor, task: Task) -> Tensor:
    """One minus the lead of the likeliest over the second, in probability; shape (B,) from logits, shape (B, K)."""
    not_first = doubt(logits, task)
    if task.multilabel:
        return not_first + (1 - not_first) * (-logits.abs().amin(-1)).exp()
    return not_first + logits.softmax(-1).topk(2).values[:, 1]


def logit_entropy(logits: Tensor, task: Task) -> Tensor:
    """Entropy of P(y | x) in nats, shape (B,), from logits, shape (B, K)."""
    if task.multilabel:
        present_or_not = torch.stack([logits, -logits])
        return -(present_or_not.sigmoid() * F.logsigmoid(present_or_not)).sum((0, -1))
    return -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


class _Confidence(Detector):
    """A statistic of the logits."""

    passes = 1
    statistic: Callable[[Tensor, Task], Tensor]  # of logits, shape (B, K), a number an image, shape (B,)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        return type(self).statistic(logits_of(batch.image, classifier), classifier.task).unsqueeze(1)


class MaxSoftmax(_Confidence):
    """One minus the highest class probability.

    Multilabel: one minus the probability of the likeliest combination of labels.

    Source: Hendrycks and Gimpel, arXiv:1610.02136.
    """

    statistic = staticmethod(doubt)


class Margin(_Confidence):
    """One minus the difference between the two highest class probabilities.

    Multilabel: the same of the two likeliest combinations of labels; the second one differs from the first in the
    label that is least sure.
    """

    statistic = staticmethod(closeness)


class Entropy(_Confidence):
    """Entropy of the class probabilities, in nats.

    Multilabel: the sum of the labels' entropies, which is that of the combination of labels.
    """

    statistic = staticmethod(logit_entropy)


class ODIN(Detector):
    """One minus the highest class probability at a high temperature, after a step that raises it.

    The step goes by the sign of the gradient, and may leave [0, 1] by its size. Multilabel: the probability is that of
    the likeliest combination of labels.

    Args:
        temperature: what logits are divided by, above 0.
        step: pixel units, a number or a fraction such as "1/255"; 0 is none.

    Source: Liang, Li and Srikant, arXiv:1706.02690, there for images of other classes.
    """

    passes = 2  # and one backward

    def __init__(self, temperature: float, step: float | str) -> None:
        self.temperature = checks.positive("temperature", temperature)
        self.step = checks.at_least("step", checks.number("step", step), 0)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        stepped = batch.image + self.step * self._uphill(batch.image, classifier)
        return doubt(classifier(stepped) / self.temperature, classifier.task).unsqueeze(1)

    def _uphill(self, image: Tensor, classifier: Classifier) -> Tensor:
        """Signs of the gradient, shape (B, C, H, W); constant but for jumps, and so without a gradient of their own."""
        with differentiable(classifier):
            leaf = image.detach().clone().requires_grad_()
            likeliest = log_likeliest(classifier(leaf) / self.temperature, classifier.task)
            (gradient,) = torch.autograd.grad(likeliest.sum(), leaf)
        return gradient.sign()
