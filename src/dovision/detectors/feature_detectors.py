"""Detectors that read the activations of a classifier's layers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from dovision import checks
from dovision.detectors._estimators import Discriminator, Gaussians, fit_discriminator, fit_gaussians
from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Detector
from dovision.module_state import evaluating
from dovision.propagation.sites import find_site
from dovision.types import Batch, Shape

LEARNED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


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


class LayerFeatures:
    """Outputs of layers, in one pass; a map's are averaged over the cells of a cells x cells grid.

    Args:
        names: layers of the network; None: all its convolutions and linear layers.
        cells: of the grid; 1 averages over the whole map.

    Raises:
        ValueError: at the first image, if there is no such layer, or it does not run exactly once.
    """

    def __init__(self, names: Sequence[str] | None, cells: int) -> None:
        self.names = None if names is None else tuple(names)
        self.cells = checks.positive_int("cells", cells)
        self.sizes: tuple[int, ...] = ()  # features of each layer, known after the first pass

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Read a blank image of this shape, (C, H, W); errors as those of the first image."""
        with evaluating(classifier):
            self(torch.zeros(1, *shape, device=classifier.mean.device), classifier)

    def __call__(self, image: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """All layers' features in a row, shape (B, F), and the logits, shape (B, K)."""
        runs: dict[str, list[Tensor]] = {name: [] for name in self._names(classifier)}
        with ExitStack() as hooks:
            for name, outputs in runs.items():
                site = find_site(classifier, name)
                if site is None:
                    raise ValueError(f"layers must be layers of the network, got {name!r}.")
                hooks.enter_context(site.module.register_forward_hook(partial(self._keep, outputs)))
            logits = classifier(image)
        for name, outputs in runs.items():
            if len(outputs) != 1:
                raise ValueError(f"layer {name!r} must run once in a forward pass, got {len(outputs)} runs.")
        features = [outputs[0] for outputs in runs.values()]
        self.sizes = tuple(each.shape[1] for each in features)
        return torch.cat(features, 1), logits

    def split(self, row: Tensor) -> tuple[Tensor, ...]:
        """The features of each layer, from all of them in a row, shape (B, F); after an image was read."""
        if not self.sizes:
            raise ValueError("layers must be read of an image before their features can be separated.")
        return torch.split(row, list(self.sizes), dim=1)

    def _names(self, classifier: Classifier) -> tuple[str, ...]:
        if self.names is not None:
            return self.names
        names = [name for name, layer in classifier.network.named_modules() if name and isinstance(layer, LEARNED)]
        if not names:
            raise ValueError("the network must have convolutions or linear layers, got none. Name its layers.")
        return tuple(names)

    def _keep(self, outputs: list[Tensor], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """From a copy, since the next layer may write into the output."""
        own = output.clone()
        outputs.append((F.adaptive_avg_pool2d(own, self.cells) if own.ndim == 4 else own).flatten(1))
