"""Change of probabilities when the image loses detail."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dovision import checks
from dovision.detectors._logit_cache import logits_of
from dovision.functional.filters import median_filter, reduce_depth
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch


class FeatureSqueezing(Detector):
    """The largest L1 distance between P(y | x) and P(y | squeezed x), over the squeezers; nothing to fit.

    Args:
        bits: bits a channel that the image is rounded to, one or several.
        windows: sides of median filters, in pixels, one or several.

    The gradient passes through the rounding as if it were not there, since its own is zero: an adaptive attacker can
    follow it, but it is not the score's derivative.

    Source: Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155; the gradient: Athalye et al., arXiv:1802.00420.
    """

    def __init__(self, bits: Sequence[int], windows: Sequence[int]) -> None:
        self.bits = tuple(checks.positive_int("bits", each) for each in bits)
        self.windows = tuple(checks.positive_int("windows", each) for each in windows)
        if not self.bits and not self.windows:
            raise ValueError("feature squeezing needs a squeezer, got none. Give bits or windows.")
        self.passes = 1 + len(self.bits) + len(self.windows)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        image = batch.image
        squeezed = [reduce_depth(image, bits) for bits in self.bits]
        squeezed += [median_filter(image, window) for window in self.windows]
        probability = classifier.task.probability(logits_of(image, classifier))
        moved = (classifier.task.probability(classifier(each)) for each in squeezed)
        return torch.stack([(each - probability).abs().sum(1) for each in moved], 1)

    def score_features(self, features: Tensor) -> Tensor:
        return features.amax(1)
