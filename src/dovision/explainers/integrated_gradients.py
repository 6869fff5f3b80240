"""Integrated gradients."""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch


class IntegratedGradients(Explainer):
    """The gradient of the class's logit along the way from a blank image, times the way; summed over channels.

    A map's sum is the logit of the image minus that of the blank one, but for the steps' error.

    Args:
        steps: gradients per image.
        baseline: every pixel of the blank image, in pixel units.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Sundararajan et al., arXiv:1703.01365.
    """

    def __init__(self, steps: int = 50, baseline: float = 0.0, batch_size: int = 16) -> None:
        self.steps = checks.positive_int("steps", steps)
        self.baseline = checks.within("baseline", baseline, 0, 1, "It is in pixel units.")
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        gradients = captum.attr.IntegratedGradients(classifier)
        images, targets = (torch.split(value, self.batch_size) for value in (batch.image.detach(), target))
        attributions = [
            gradients.attribute(
                image, self.baseline, wanted.tolist(), n_steps=self.steps, internal_batch_size=self.batch_size
            )
            for image, wanted in zip(images, targets, strict=True)
        ]
        return torch.cat(attributions).sum(1)
