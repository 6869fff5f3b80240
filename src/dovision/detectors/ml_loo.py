"""Dispersion of what each neuron loses when a part of the image is left out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dovision.detectors._estimators import Regression, fit_regression
from dovision.detectors._profile import Profile, deviation
from dovision.interfaces import Classifier, Context, Detector, Intervention
from dovision.module_state import evaluating
from dovision.propagation.sites import find_site
from dovision.types import INPUT, Batch, Shape

LEARNED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class MLLOO(Detector):
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
        >>> detector.read(digits, classifier).shape
        torch.Size([8, 78])
    """

    supervised = True
    regression: Regression

    def __init__(self, intervention: Intervention, layers: Sequence[str] | None) -> None:
        self.intervention = intervention
        if intervention.site != INPUT:
            raise ValueError(f"ML-LOO leaves out parts of the image (site input), got site {intervention.site!r}.")
        self.layers = LayerFeatures(layers) if layers is None or len(layers) else None
        self.profile = Profile({"parts": intervention}, "probability") if self.layers is None else None

    def check(self, classifier: Classifier, shape: Shape) -> None:
        if self.layers is not None:
            self.layers.check(classifier, shape)

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        layers = self.layers
        if layers is None:
            assert self.profile is not None
            _, (outcome,) = self.profile.outcomes(batch, classifier)
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

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.regression = fit_regression(clean, attacked)

    def score_features(self, features: Tensor) -> Tensor:
        return self.regression.logit(features)

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


class LayerFeatures:
    """Channels of several layers in one pass, averaged over places.

    Args:
        names: layers of the network; None: all its convolutions and linear layers.

    Raises:
        ValueError: at the first image, if there is no such layer, or it does not run exactly once.
    """

    def __init__(self, names: Sequence[str] | None) -> None:
        self.names = None if names is None else tuple(names)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Run a blank image of this shape, (C, H, W); errors as for the first image."""
        with evaluating(classifier):
            self(classifier.mean.new_zeros(1, *shape), classifier)

    def __call__(self, image: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """Concatenated features of all layers, shape (B, F), and the logits, shape (B, K)."""
        names = self.names
        if names is None:
            modules = classifier.network.named_modules()
            names = tuple(name for name, layer in modules if name and isinstance(layer, LEARNED))
        if not names:
            raise ValueError("the network must have convolutions or linear layers, got none. Name its layers.")
        runs: dict[str, list[Tensor]] = {name: [] for name in names}
        with ExitStack() as hooks:
            for name, outputs in runs.items():
                site = find_site(classifier, name)
                if site is None:
                    raise ValueError(f"layers must be layers of the network, got {name!r}.")
                hooks.enter_context(site.module.register_forward_hook(partial(_append_channels, outputs)))
            logits = classifier(image)
        for name, outputs in runs.items():
            if len(outputs) != 1:
                raise ValueError(f"layer {name!r} must run once in a forward pass, got {len(outputs)} runs.")
        return torch.cat([outputs[0] for outputs in runs.values()], 1), logits


def _append_channels(outputs: list[Tensor], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Append channels of a copy of the output, since the next layer may overwrite it."""
    copied = output.clone()
    outputs.append((F.adaptive_avg_pool2d(copied, 1) if copied.ndim == 4 else copied).flatten(1))
