"""Maximum softmax probability, tempered, after a small step of the image towards the predicted class."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.detectors._softmax_confidence import doubt, log_likeliest
from dovision.interfaces import Classifier, Detector
from dovision.module_state import differentiable
from dovision.types import Batch


class ODIN(Detector):
    """One minus the highest class probability at a high temperature, after a step that raises it; nothing to fit.

    The step goes by the sign of the gradient, and may leave [0, 1] by its size. Multilabel: the probability is that of
    the likeliest combination of labels, taken as independent.

    Args:
        temperature: what logits are divided by, above 0.
        step: pixel units, a number or a fraction such as "1/255"; 0 is none.

    Source: Liang, Li and Srikant, arXiv:1706.02690, there for images of other classes.
    """

    passes = 2  # and one backward

    def __init__(self, temperature: float, step: float | str) -> None:
        self.temperature = checks.positive("temperature", temperature)
        self.step = checks.at_least("step", checks.number("step", step), 0)

    def read_features(self, batch: Batch, classifier: Classifier, inserted: Classifier | None) -> Tensor:
        stepped = batch.image + self.step * self._uphill(batch.image, classifier)
        return doubt(classifier(stepped) / self.temperature, classifier.task).unsqueeze(1)

    def score_features(self, features: Tensor) -> Tensor:
        return features[:, 0]

    def _uphill(self, image: Tensor, classifier: Classifier) -> Tensor:
        """Signs of the gradient, shape (B, C, H, W); constant but for jumps, and so without a gradient of their own."""
        with differentiable(classifier):
            leaf = image.detach().clone().requires_grad_()
            likeliest = log_likeliest(classifier(leaf) / self.temperature, classifier.task)
            (gradient,) = torch.autograd.grad(likeliest.sum(), leaf)
        return gradient.sign()
