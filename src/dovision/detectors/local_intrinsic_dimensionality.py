"""Growth of the number of clean images with the distance from an image, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dovision import checks
from dovision.detectors._activations import LayerFeatures
from dovision.detectors._discriminator import Discriminator, fit_discriminator
from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Shape


class LocalIntrinsicDimensionality(Detector):
    """Log-odds of attacked, by a logistic regression on each layer's dimension around the image.

    The dimension is estimated from the distances to the nearest of some clean images, the reference. These are drawn
    from those that the detector is fitted to, and left out of the regression: at most half of them.

    Args:
        layers: names of layers; None: all convolutions and linear layers.
        cells: maps are averaged over a cells x cells grid, to keep what is read small; its source takes whole maps.
        neighbours: nearest reference images that are looked at, at least 2.
        reference: images in the reference.
        seed: of the drawing.

    Source: Ma et al., ICLR 2018, arXiv:1801.02613.
    """

    supervised = True
    passes = 1
    references: tuple[Tensor, ...]  # (R, F) of each layer
    discriminator: Discriminator

    def __init__(self, layers: Sequence[str] | None, cells: int, neighbours: int, reference: int, seed: int) -> None:
        self.layers = LayerFeatures(layers, cells)
        self.neighbours = int(checks.at_least("neighbours", checks.positive_int("neighbours", neighbours), 2))
        self.reference = checks.positive_int("reference", reference)
        self.seed = seed

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.layers.check(classifier, shape)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        return self.layers(batch.image, classifier)[0]

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        order = torch.randperm(len(clean), generator=generator(self.seed))
        drawn, rest = order.tensor_split([min(self.reference, len(clean) // 2)])
        self.references = self.layers.split(clean[drawn])
        regression = LogisticRegression(class_weight="balanced")
        self.discriminator = fit_discriminator(self._dimensions(clean[rest]), self._dimensions(attacked), regression)

    def score_features(self, features: Tensor) -> Tensor:
        return self.discriminator.logit(self._dimensions(features))

    def _dimensions(self, features: Tensor) -> Tensor:
        """Around each image, in each layer; shape (B, layers)."""
        layers = zip(self.layers.split(features), self.references, strict=True)
        return torch.stack([dimension(layer, near.to(layer), self.neighbours) for layer, near in layers], 1)


def dimension(points: Tensor, reference: Tensor, neighbours: int) -> Tensor:
    """Maximum-likelihood estimate of the local dimension around points, shape (B,) from (B, F) and (R, F).

    Minus one over the mean of log(r_i / r_k), over the distances r_1 <= ... <= r_k to the k nearest of the reference.

    Source: Amsaleg et al., KDD 2015.
    """
    distance = torch.cdist(points, reference, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.topk(min(neighbours, len(reference)), largest=False).values
    tiny = torch.finfo(nearest.dtype).tiny
    logs = (nearest.clamp(min=tiny) / nearest[:, -1:].clamp(min=tiny)).log()
    return -1 / logs.mean(1).clamp(max=-1e-6)
