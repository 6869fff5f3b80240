"""Change of probabilities when the image loses detail."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dovision import checks
from dovision.detectors._estimators import Regression, fit_regression
from dovision.detectors._outputs import cached, logits_of
from dovision.interfaces import Classifier, Context, Detector
from dovision.propagation.weights_stamp import weights_stamp
from dovision.types import Batch

LARGEST, REGRESSION = "largest", "regression"


class FeatureSqueezing(Detector):
    """L1 distance between P(y | x) and P(y | squeezed x): the largest over squeezers, or a regression on all.

    Args:
        squeezers: transforms of images by any names, such as {"bits": BitDepth(1), "median": MedianFilter(2)}.
        score: `largest`, as published, without a fit; or `regression`: log-odds of attacked by logistic regression on
            the distances, which gives feature squeezing the attacked images that supervised detectors are given.

    The gradient of the rounding is that of a smooth step, since its own is zero: an adaptive attacker can follow it,
    but it is not the score's derivative.

    Source: Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155; the gradient: Athalye et al., arXiv:1802.00420.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.FeatureSqueezing({"bits": dv.BitDepth(1), "median": dv.MedianFilter(2)})
        >>> detector.score(detector.read(digits, classifier)).shape
        torch.Size([8])
    """

    regression: Regression

    def __init__(self, squeezers: Mapping[str, Callable[[Tensor, Context], Tensor]], score: str = LARGEST) -> None:
        self.squeezers = dict(checks.nonempty("squeezers", squeezers))
        self.passes = 1 + len(self.squeezers)
        self.supervised = checks.choice("score", score, (LARGEST, REGRESSION)) == REGRESSION

    @property
    def needs_fit(self) -> bool:
        return self.supervised

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        """L1 distance of the probabilities for each squeezer, shape (B, squeezers)."""
        if torch.is_grad_enabled():
            return self._distances(batch, classifier)
        key = ("squeezed", repr(self.squeezers), weights_stamp(classifier))
        return cached(batch.image, key, lambda: self._distances(batch, classifier))

    def _distances(self, batch: Batch, classifier: Classifier) -> Tensor:
        squeezed = [squeeze(batch.image, Context(batch, classifier)) for squeeze in self.squeezers.values()]
        views = torch.stack([logits_of(batch.image, classifier), *map(classifier, squeezed)], 1)
        probability = classifier.task.probability(views)
        return (probability[:, 1:] - probability[:, :1]).abs().sum(2)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.regression = fit_regression(clean, attacked)

    def score_features(self, features: Tensor) -> Tensor:
        return self.regression.logit(features) if self.supervised else features.amax(1)
