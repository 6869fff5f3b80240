"""Dispersion of what each neuron loses when a part of the image is left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dovision import checks
from dovision.detectors._estimators import RegressionDetector
from dovision.detectors._profile import Profile, deviation
from dovision.detectors.feature_detectors import LayerFeatures
from dovision.interfaces import Classifier, Context, Intervention
from dovision.types import INPUT, Batch, Shape


class MLLOO(RegressionDetector):
    """Log-odds of attacked from the dispersion of neurons' leave-one-out attributions (logistic regression).

    The attribution of a neuron to a part of the image is minus the effect on it of leaving the part out. Neurons are
    the channels of layers, averaged over places, and the class probabilities. Its source leaves out each pixel, at as
    many passes as there are pixels; cells of a grid are the cheap form. Multilabel: the probabilities of the labels.

    Args:
        intervention: on the image, whose units are left out, such as PixelGrid(28, 28) for all pixels of MNIST.
        layers: names of layers; None: all convolutions and linear layers; an empty list: the class probabilities
            alone, by two passes more, all of them shared with other detectors that use an equal intervention.

    Source: Yang, Chen, Hsieh, Wang and Jordan, AAAI 2020, arXiv:1906.03499.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.MLLOO(dv.PixelGrid(2, 2), layers=["relu"])
        >>> detector.read(digits, classifier, None).shape
        torch.Size([8, 78])
    """

    def __init__(self, intervention: Intervention, layers: Sequence[str] | None) -> None:
        self.intervention = checks.instance("intervention", intervention, Intervention, "an intervention on the image")
        if intervention.site != INPUT:
            raise ValueError(f"ML-LOO leaves out parts of the image (site input), got site {intervention.site!r}.")
        self.layers = LayerFeatures(layers, cells=1) if layers is None or len(layers) else None
        self.profile = Profile({"parts": intervention}, "probability") if self.layers is None else None

    def check(self, classifier: Classifier, shape: Shape) -> None:
        if self.layers is not None:
            self.layers.check(classifier, shape)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        layers = self.layers
        if layers is None:
            assert self.profile is not None
            _, (outcome,) = self.profile.outcomes(batch, classifier, with_autoencoder)
            self.passes = self.profile.passes
            return dispersion(classifier.task.probability(outcome.treated))
        self.passes = len(self.intervention.units(tuple(batch.image.shape[1:])))
        if batch.image.requires_grad and torch.is_grad_enabled():  # a pass a unit, one of them in memory at a time
            context = Context(batch, classifier)
            units = range(self.passes)
            treated = [checkpoint(self._treated, [unit], context, layers, use_reentrant=False) for unit in units]
            return dispersion(torch.stack(treated, 1))
        images = [Context(batch.rows([row]), classifier) for row in range(len(batch.image))]
        treated = [self._treated(range(self.passes), context, layers) for context in images]
        return torch.cat([dispersion(neurons.unsqueeze(0)) for neurons in treated])

    def _treated(self, units: Sequence[int], context: Context, layers: LayerFeatures) -> Tensor:
        """Neurons of each image without each unit, shape (units * B, neurons), and the class probabilities."""
        image, classifier = context.batch.image, context.classifier
        features, logits = layers(
            torch.cat([self.intervention.apply(image, unit, context) for unit in units]), classifier
        )
        return torch.cat([features, classifier.task.probability(logits)], 1)


def dispersion(effect: Tensor) -> Tensor:
    """Standard deviation, interquartile range and median absolute deviation; shape (B, 3 C) from (B, units, C)."""
    low, middle, high = effect.quantile(torch.tensor([0.25, 0.5, 0.75]).to(effect), dim=1)
    absolute = (effect - middle.unsqueeze(1)).abs().quantile(0.5, dim=1)
    return torch.cat([deviation(effect), high - low, absolute], 1)
