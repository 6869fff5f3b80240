"""Detectors that read the confidence of the classifier; exact where probabilities saturate.

The labels of a multilabel task are taken as independent. What is likeliest is then a combination of labels, each as
its probability has it (above a half or not, whatever the thresholds), and its probability is a product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.detectors._estimators import best_column
from dovision.detectors._input_step import gradient_signs
from dovision.detectors._logit_cache import logits_of
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Task


def log_likeliest(logits: Tensor, task: Task) -> Tensor:
    """Log-probability of the likeliest class, or label combination, (B, K) to (B,)."""
    if task.multilabel:
        return F.logsigmoid(logits.abs()).sum(-1)
    return F.logsigmoid(task.log_odds(logits).amax(-1))


def doubt(logits: Tensor, task: Task) -> Tensor:
    """One minus the likeliest probability, shape (B,), accurate near 1."""
    return -log_likeliest(logits, task).expm1()


def closeness(logits: Tensor, task: Task) -> Tensor:
    """One minus the lead in probability of the likeliest over the second, (B, K) logits to (B,)."""
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
    """Detector by a statistic of the logits."""

    passes = 1
    statistic: Callable[[Tensor, Task], Tensor]  # of logits, shape (B, K), a number an image, shape (B,)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        return type(self).statistic(logits_of(batch.image, classifier), classifier.task).unsqueeze(1)


class MaxSoftmax(_Confidence):
    """One minus the maximum softmax probability, or minus that if confident images are attacked.

    Multilabel: one minus the probability of the likeliest combination of labels.

    Args:
        inverted: whether a sure answer is taken for attacked, as strong attacks leave it, and not an unsure one.

    Source: Hendrycks and Gimpel, arXiv:1610.02136; not the inverted one.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.MaxSoftmax()
        >>> detector.score(detector.read(digits, classifier, None)).shape
        torch.Size([8])
    """

    statistic = staticmethod(doubt)

    def __init__(self, inverted: bool = False) -> None:
        self.inverted = inverted

    def score_features(self, features: Tensor) -> Tensor:
        score = super().score_features(features)
        return -score if self.inverted else score


class TwoSidedMaxSoftmax(_Confidence):
    """Distance of the prediction's log-odds from the median of clean images, either way.

    Each side is in units of the distance from the median to the quantile beyond which 5% of clean images lie, so that
    answers that are too sure and answers that are too unsure cost equally many false alarms. Multilabel: of the
    likeliest combination of labels.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.TwoSidedMaxSoftmax()
        >>> features = detector.read(digits, classifier, None)
        >>> detector.fit(features, features[:0])
        >>> detector.score(features).shape
        torch.Size([8])
    """

    low: float
    median: float
    high: float

    @staticmethod
    def statistic(logits: Tensor, task: Task) -> Tensor:
        """Log-odds of the likeliest class, or label combination, (B, K) to (B,)."""
        likeliest = log_likeliest(logits, task)
        return likeliest - (-likeliest.expm1()).clamp(min=torch.finfo(likeliest.dtype).tiny).log()

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.low, self.median, self.high = np.quantile(clean.double().cpu().numpy(), [0.05, 0.5, 0.95]).tolist()

    def score_features(self, features: Tensor) -> Tensor:
        from_median = features[:, 0] - self.median
        side = torch.where(from_median > 0, self.high - self.median, self.median - self.low)
        return from_median.abs() / side.clamp(min=1e-6)


class Margin(_Confidence):
    """One minus the difference between the two highest class probabilities.

    Multilabel: the same of the two likeliest combinations of labels; the second one differs from the first in the
    label that is least sure.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.Margin()
        >>> detector.score(detector.read(digits, classifier, None)).shape
        torch.Size([8])
    """

    statistic = staticmethod(closeness)


class Entropy(_Confidence):
    """Entropy of the class probabilities, in nats.

    Multilabel: the sum of the labels' entropies, which is that of the combination of labels.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.Entropy()
        >>> detector.score(detector.read(digits, classifier, None)).shape
        torch.Size([8])
    """

    statistic = staticmethod(logit_entropy)


class ODIN(Detector):
    """One minus the maximum softmax probability at high temperature, after a step that raises it.

    The step goes by the sign of the gradient, and may leave [0, 1] by its size. Of several temperatures and steps all
    pairs are read, and the fit picks the one of the highest AUROC, as its source does on images of both kinds; then it
    is supervised. A single pair leaves nothing to fit. Multilabel: the probability is that of the likeliest combination
    of labels.

    Args:
        temperatures: what logits are divided by, above 0; one or several.
        steps: pixel units, numbers or fractions such as "1/255"; 0 is none; one or several.

    Source: Liang, Li and Srikant, ICLR 2018, arXiv:1706.02690, there for images of other classes.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.ODIN(temperatures=[1.0, 10.0], steps=[0.0, "1/255"])
        >>> detector.read(digits, classifier, None).shape
        torch.Size([8, 4])
    """

    chosen = 0  # of the pairs

    def __init__(self, temperatures: Sequence[float], steps: Sequence[float | str]) -> None:
        self.temperatures = [checks.positive("temperatures", temperature) for temperature in temperatures]
        self.steps = [checks.at_least("steps", checks.number("steps", step), 0) for step in steps]
        self.pairs = list(itertools.product(self.temperatures, self.steps))
        if not self.pairs:
            raise ValueError("ODIN needs a temperature and a step, got none. Give one or several of both.")
        self.supervised = len(self.pairs) > 1
        moving = sum(step > 0 for step in self.steps)
        still, uphill = moving < len(self.steps), moving > 0
        self.passes = still + uphill + len(self.temperatures) * moving  # and a backward one for each temperature

    @property
    def needs_fit(self) -> bool:
        return self.supervised

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        image, task = batch.image, classifier.task
        uphill = dict(zip(self.temperatures, self._uphill(image, classifier), strict=True)) if any(self.steps) else {}
        logits = {
            (temperature, step): classifier(image + step * uphill[temperature])
            for temperature, step in self.pairs
            if step
        }
        if 0 in self.steps:
            logits |= dict.fromkeys(
                ((temperature, 0.0) for temperature in self.temperatures), logits_of(image, classifier)
            )
        return torch.stack(
            [doubt(logits[temperature, step] / temperature, task) for temperature, step in self.pairs], 1
        )

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.chosen = best_column(clean, attacked)
        self.tuned = dict(zip(("temperature", "step"), self.pairs[self.chosen], strict=True))

    def score_features(self, features: Tensor) -> Tensor:
        return features[:, self.chosen]

    def _uphill(self, image: Tensor, classifier: Classifier) -> tuple[Tensor, ...]:
        """Signs of the gradient at each temperature, shape (B, C, H, W); detached, as they are piecewise constant."""

        def log_probabilities(leaf: Tensor) -> list[Tensor]:
            logits = classifier(leaf)
            return [log_likeliest(logits / temperature, classifier.task) for temperature in self.temperatures]

        return gradient_signs(image, classifier, log_probabilities)
