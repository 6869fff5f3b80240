"""Entropy of the prediction while a mask slides across the image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dovision.detectors._profile import Profile
from dovision.detectors.confidence import logit_entropy
from dovision.interfaces import Classifier, Detector, Intervention
from dovision.types import Batch


class SlidingMaskEntropy(Detector):
    """Mean entropy of P(y | do(mask), x) over the positions of a mask; no fit.

    Args:
        interventions: by name, such as {"mask": SlidingWindow(8, stride=8)}.

    Source: Li, Xu, Li and Zhang, arXiv:2511.05073, whose mask is black and slides by single pixels.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.SlidingMaskEntropy({"mask": dv.SlidingWindow(4, stride=4)})
        >>> detector.score(detector.read(digits, classifier, None)).shape
        torch.Size([8])
    """

    def __init__(self, interventions: Mapping[str, Intervention]) -> None:
        self.profile = Profile(interventions, "probability")
        self.reads_code = self.profile.reads_code

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """Mean entropy by intervention, shape (B, interventions), in nats."""
        _, outcomes = self.profile.outcomes(batch, classifier, with_autoencoder)
        self.passes = self.profile.passes
        return torch.stack([logit_entropy(outcome.treated, classifier.task).mean(1) for outcome in outcomes], 1)

    def score_features(self, features: Tensor) -> Tensor:
        return features.mean(1)
