"""Agreement of the output with what linear probes read in the layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from dovision.detectors._estimators import RegressionDetector
from dovision.detectors._profile import compressed
from dovision.detectors.effect_consistency import log_odds_loss, probability_distance
from dovision.detectors.feature_detectors import LayerFeatures
from dovision.functional.rng import uniform
from dovision.interfaces import Classifier
from dovision.types import Batch, Shape

PENALTIES = np.logspace(-2, 5, 8)  # on squared weights, of which the fit picks one
_LINEAR_BELOW = 0.01  # of losses of log-odds, as of EffectConsistency
_SEED = 2  # of the halves of patients


class Probe(NamedTuple):
    """A linear map from a layer's features to logits."""

    weight: Tensor  # (F, K)
    bias: Tensor  # (K,)


class LayerProbes(RegressionDetector):
    """Log-odds of attacked from the disagreement of layers' linear probes with the output (logistic regression).

    A probe predicts the classifier's logits from the features of a layer; it is fitted to clean images, by ridge
    regression. There are two a layer, each fitted to half of the patients, drawn at random; an image is read by those
    that were fitted to the other half, so that the regression does not rely on what probes have memorised. Each gives
    the L1 distance of its probabilities to the output's, and the log-odds by which it falls short of the output's
    in the predicted class.

    Its sources train a second network, or recover layers from others; here the second opinions are linear.

    Args:
        layers: names of layers; None: all convolutions and linear layers.
        cells: maps are averaged over a cells x cells grid; None: whole maps.

    Source: the idea, disagreement with a second network, arXiv:2506.03765 (PID), and of layers with each other,
    arXiv:2505.12586 (RLT); probes, Alain and Bengio, arXiv:1610.01644.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.LayerProbes(layers=["relu"], cells=1)
        >>> detector.prepare([digits], classifier, None)
        >>> detector.read(digits, classifier, None).shape
        torch.Size([8, 2])
    """

    passes = 1
    probes: tuple[tuple[Probe, ...], ...]  # of each half, by layer

    def __init__(self, layers: Sequence[str] | None, cells: int | None) -> None:
        self.layers = LayerFeatures(layers, cells)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.layers.check(classifier, shape)

    def prepare_features(
        self, clean: Iterable[Batch], classifier: Classifier, with_autoencoder: Classifier | None
    ) -> None:
        read = [(*self.layers(batch.image, classifier), _half(batch)) for batch in clean]
        rows, logits, half = (torch.cat(tensors) for tensors in zip(*read, strict=True))
        counts = half.bincount(minlength=2).tolist()
        if min(counts) < 2:
            raise ValueError(
                f"probes of layers need at least 2 clean images in each half of the patients, got {counts}. Raise "
                "detection.val_images to at least some hundreds."
            )
        halves = ([layer[half == number] for layer in self.layers.split(rows)] for number in (0, 1))
        self.probes = tuple(
            tuple(_probe(layer, logits[half == number]) for layer in layers) for number, layers in enumerate(halves)
        )

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """Losses of log-odds, then distances, shape (B, 2 layers)."""
        features, logits = self.layers(batch.image, classifier)
        layers = self.layers.split(features)
        first, second = (
            torch.stack([layer @ probe.weight.to(layer) + probe.bias.to(layer) for probe, layer in pairs], 1)
            for pairs in (zip(probes, layers, strict=True) for probes in self.probes)
        )
        probed = torch.where((_half(batch) == 0)[:, None, None].to(first.device), second, first)
        task = classifier.task
        predicted = task.prediction(task.probability(logits.detach()))
        loss = log_odds_loss(probed, logits, predicted, task)
        return torch.cat([compressed(loss, _LINEAR_BELOW), probability_distance(probed, logits, task)], 1)


def _half(batch: Batch) -> Tensor:
    """Half of the patients that each image is of, 0 or 1, shape (B,)."""
    return (uniform((), _SEED, batch.group) < 0.5).long()


def _probe(features: Tensor, logits: Tensor) -> Probe:
    """Fit a probe to features, shape (N, F), and logits, shape (N, K)."""
    pipeline = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    pipeline.fit(features.double().cpu().numpy(), logits.double().cpu().numpy())
    scaler, ridge = (step for _, step in pipeline.steps)
    weight = (np.atleast_2d(ridge.coef_) / scaler.scale_).T
    return Probe(torch.from_numpy(weight), torch.from_numpy(ridge.intercept_ - scaler.mean_ @ weight))
