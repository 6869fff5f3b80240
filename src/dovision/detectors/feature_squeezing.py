"""Change of probabilities when the image loses detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dovision import checks
from dovision.detectors._estimators import Regression, fit_regression
from dovision.detectors._logit_cache import cached, logits_of
from dovision.functional.filters import median_filter, non_local_means, reduce_depth
from dovision.interfaces import Classifier, Detector
from dovision.propagation.weights_stamp import weights_stamp
from dovision.types import Batch

LARGEST, REGRESSION = "largest", "regression"
_SMOOTHING_KEYS = ("patch_size", "patch_distance", "h")


class FeatureSqueezing(Detector):
    """L1 distance between P(y | x) and P(y | squeezed x): the largest over squeezers, or a regression on all.

    Args:
        bits: bits a channel that the image is rounded to, one or several.
        windows: sides of median filters, in pixels, one or several.
        smoothings: non-local means, each with `patch_size` and `patch_distance` in pixels and `h` in pixel units, a
            number or a fraction such as "4/255"; see `functional.filters.non_local_means`.
        score: `largest`, as published, without a fit; or `regression`: log-odds of attacked by logistic regression on
            the distances, which gives feature squeezing the attacked images that supervised detectors are given.

    The gradient of the rounding is that of a smooth step, since its own is zero: an adaptive attacker can follow it,
    but it is not the score's derivative.

    Source: Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155; the gradient: Athalye et al., arXiv:1802.00420.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.FeatureSqueezing(bits=[1], windows=[2])
        >>> detector.score(detector.read(digits, classifier)).shape
        torch.Size([8])
    """

    regression: Regression

    def __init__(
        self,
        bits: Sequence[int],
        windows: Sequence[int],
        smoothings: Sequence[Mapping[str, Any]] = (),
        score: str = LARGEST,
    ) -> None:
        self.bits = tuple(checks.positive_int("bits", number) for number in bits)
        self.windows = tuple(checks.positive_int("windows", number) for number in windows)
        self.smoothings = tuple(_smoothing(smoothing) for smoothing in smoothings)
        squeezers = len(self.bits) + len(self.windows) + len(self.smoothings)
        if not squeezers:
            raise ValueError("feature squeezing needs a squeezer, got none. Give bits, windows or smoothings.")
        self.passes = 1 + squeezers
        self.supervised = checks.choice("score", score, (LARGEST, REGRESSION)) == REGRESSION

    @property
    def needs_fit(self) -> bool:
        return self.supervised

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        """L1 distance of the probabilities for each squeezer, shape (B, squeezers)."""
        if torch.is_grad_enabled():
            return self._distances(batch.image, classifier)
        key = ("squeezed", self.bits, self.windows, self.smoothings, weights_stamp(classifier))
        return cached(batch.image, key, lambda: self._distances(batch.image, classifier))

    def _distances(self, image: Tensor, classifier: Classifier) -> Tensor:
        squeezed = [reduce_depth(image, bits) for bits in self.bits]
        squeezed += [median_filter(image, window) for window in self.windows]
        squeezed += [non_local_means(image, *smoothing) for smoothing in self.smoothings]
        views = torch.stack([logits_of(image, classifier), *(classifier(image) for image in squeezed)], 1)
        probability = classifier.task.probability(views)
        return (probability[:, 1:] - probability[:, :1]).abs().sum(2)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.regression = fit_regression(clean, attacked)

    def score_features(self, features: Tensor) -> Tensor:
        return self.regression.logit(features) if self.supervised else features.amax(1)


def _smoothing(settings: Mapping[str, Any]) -> tuple[int, int, float]:
    """Arguments of `non_local_means`, in their order."""
    if set(settings) != set(_SMOOTHING_KEYS):
        raise ValueError(f"smoothings must have {', '.join(_SMOOTHING_KEYS)}, got {', '.join(settings) or 'nothing'}.")
    size, distance = (checks.positive_int(name, settings[name]) for name in _SMOOTHING_KEYS[:2])
    if size % 2 == 0:
        raise ValueError(f"patch_size must be odd, got {size}.")
    return size, distance, checks.positive("h", settings["h"])
