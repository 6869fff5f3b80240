"""Maximum softmax probability."""

from __future__ import annotations

from torch import Tensor

from dovision.detectors._logit_cache import logits_of
from dovision.detectors._softmax_confidence import doubt
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch


class MaxSoftmax(Detector):
    """One minus the highest class probability; nothing to fit.

    Multilabel: one minus the probability of the likeliest combination of labels, taken as independent.

    Source: Hendrycks and Gimpel, arXiv:1610.02136.
    """

    passes = 1

    def read_features(self, batch: Batch, classifier: Classifier, inserted: Classifier | None) -> Tensor:
        return doubt(logits_of(batch.image, classifier), classifier.task).unsqueeze(1)

    def score_features(self, features: Tensor) -> Tensor:
        return features[:, 0]
