"""Agreement of an image with transformed versions of itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.detectors._outputs import penultimate
from dovision.interfaces import Classifier, Context, Detector, Intervention
from dovision.module_state import evaluating
from dovision.types import INPUT, Batch, Shape


class BEYOND(Detector):
    """Disagreement of an image with its neighbours in label and representation, standardised by clean images.

    Neighbours are transformed versions of the image. The label agrees by the probability that the classifier gives, on
    a neighbour, to what it predicts on the image (multilabel: the mean over labels); representations agree by their
    cosine. Both are averaged over the neighbours, and standardised by those of clean images.

    Its source has a second network for both, trained without labels, whose augmentations are drawn; counts the
    neighbours that agree by more than a threshold; and rejects by either count. Here it is the classifier itself, with
    the input of its last linear layer, and the sum of the two, so that there is a gradient to follow.

    Args:
        intervention: on the image, whose units make its neighbours, such as a Transform of several transforms.

    Source: He, Yang, Chen, Xu and Ho, ICML 2024, arXiv:2209.00005.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.BEYOND(dv.Transform({"bits": dv.BitDepth(1), "median": dv.MedianFilter(2)}))
        >>> detector.read(digits, classifier).shape
        torch.Size([8, 2])
    """

    mean: Tensor  # (2,) of clean images: probability and cosine
    deviation: Tensor  # (2,)

    def __init__(self, intervention: Intervention) -> None:
        self.intervention = intervention
        if intervention.site != INPUT:
            raise ValueError(f"BEYOND transforms the image (site input), got an intervention at {intervention.site!r}.")

    def check(self, classifier: Classifier, shape: Shape) -> None:
        with evaluating(classifier), torch.no_grad():
            penultimate(classifier.mean.new_zeros(1, *shape), classifier)

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        """Mean agreement in label and in representation, shape (B, 2)."""
        units = len(self.intervention.units(tuple(batch.image.shape[1:])))
        self.passes = 1 + units
        context = Context(batch, classifier)
        _, reference, logits = penultimate(batch.image, classifier)
        predicted = classifier.task.prediction(classifier.task.probability(logits.detach()))
        agreements = []
        for unit in range(units):
            _, features, logits = penultimate(self.intervention.apply(batch.image, unit, context), classifier)
            agreement = classifier.task.probability(logits)  # with the prediction, a mean over labels
            if predicted.ndim == 1:
                agreement = agreement.gather(1, predicted.unsqueeze(1)).squeeze(1)
            else:
                agreement = torch.where(predicted.bool(), agreement, 1 - agreement).mean(1)
            agreements.append(torch.stack([agreement, F.cosine_similarity(features, reference)], 1))
        return torch.stack(agreements).mean(0)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.mean, self.deviation = clean.mean(0), clean.std(0).clamp(min=1e-6)

    def score_features(self, features: Tensor) -> Tensor:
        return ((self.mean.to(features) - features) / self.deviation.to(features)).sum(1)
