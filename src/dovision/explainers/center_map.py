"""A control: what is sought lies in the middle."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch


class CenterMap(Explainer):
    """A Gaussian bump of height 1 at the centre, the same for every image and class.

    Args:
        sigma: standard deviation along each axis, as a share of the image's side.
    """

    def __init__(self, sigma: float = 0.25) -> None:
        self.sigma = checks.positive("sigma", sigma)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        height, width = batch.image.shape[2:]
        bump = torch.outer(self._bell(height), self._bell(width)).to(batch.image)
        return bump.expand(len(batch.image), -1, -1)

    def _bell(self, length: int) -> Tensor:
        offset = (torch.arange(length) - (length - 1) / 2) / (self.sigma * length)
        return torch.exp(-0.5 * offset**2)
