"""Distance of a classifier's features from those of clean images of any class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dovision.detectors._activations import LayerFeatures
from dovision.detectors._class_gaussians import Gaussians, fit_gaussians
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Shape


class MahalanobisFeatures(Detector):
    """Sum over layers of the squared distance to the nearest class, one Gaussian a class, of one covariance a layer.

    Fitted to clean images alone, with the class that the classifier says in the place of the label; the sum treats
    layers as independent. Its source weights the layers by a logistic regression on attacked images, and first takes a
    small step of the image; neither is done here. Multilabel: one Gaussian a layer for all images.

    Args:
        layers: names of layers; None: all convolutions and linear layers. Maps are averaged over places.

    Source: Lee, Lee, Lee and Shin, NeurIPS 2018, arXiv:1807.03888.
    """

    passes = 1
    gaussians: tuple[Gaussians, ...]

    def __init__(self, layers: Sequence[str] | None) -> None:
        self.layers = LayerFeatures(layers, cells=1)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.layers.check(classifier, shape)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """The features, and in the last place the number of the predicted class, which only the fit looks at."""
        row, logits = self.layers(batch.image, classifier)
        predicted = logits.argmax(1) * (not classifier.task.multilabel)
        return torch.cat([row, predicted.unsqueeze(1).to(row)], 1)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        layers = self.layers.split(clean[:, :-1].double())
        self.gaussians = tuple(fit_gaussians(layer, clean[:, -1]) for layer in layers)

    def score_features(self, features: Tensor) -> Tensor:
        layers = zip(self.gaussians, self.layers.split(features[:, :-1]), strict=True)
        return torch.stack([gaussians.squared_distance(layer) for gaussians, layer in layers]).sum(0)
