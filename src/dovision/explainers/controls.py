"""Controls: maps of one place, of edges, of brightness and of nothing, whatever the class or the classifier."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # from left to right


class CenterMap(Explainer):
    """Gaussian centred in the image, identical for every image and class.

    Args:
        sigma: standard deviation along each axis, as a share of the image's side.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.CenterMap()(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
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


class EdgeMap(Explainer):
    """Sobel gradient magnitude of the channel mean, independent of the class.

    Source of the control: Adebayo et al., Sanity checks for saliency maps, arXiv:1810.03292.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.EdgeMap()(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        grey = F.pad(batch.image.detach().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = torch.tensor(SOBEL).to(grey)
        return F.conv2d(grey, torch.stack([across, across.T]).unsqueeze(1)).norm(dim=1)


class RandomMap(Explainer):
    """Uniform random map in [0, 1].

    Args:
        seed: of the draws; the same seed, sample and class give the same map.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.RandomMap(seed=0)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(self, seed: int) -> None:
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        pairs = zip(batch.sample.tolist(), target.tolist(), strict=True)
        random = [generator(self.seed, *pair) for pair in pairs]
        shape = batch.image.shape[2:]
        return torch.stack([torch.rand(shape, generator=one) for one in random]).to(batch.image)


class BrightnessMap(Explainer):
    """Channel mean of the image, independent of the class.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.BrightnessMap()(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return batch.image.detach().mean(1)
