"""Detectors that read the activations of a classifier's layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.detectors._estimators import Gaussians, Regression, fit_best_regression, fit_gaussians
from dovision.detectors._input_step import gradient_signs
from dovision.interfaces import Classifier, Detector
from dovision.module_state import evaluating
from dovision.propagation.sites import find_site
from dovision.types import Batch, Shape

LEARNED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class _BestCandidate(Detector):
    """Logistic regression on layers' features for several candidate settings; the fit selects one."""

    supervised = True
    setting: str  # name of what is chosen
    candidates: Sequence[float]  # its values
    chosen: int  # number of the one that is picked
    layers: LayerFeatures
    regression: Regression

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.layers.check(classifier, shape)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        self.chosen, self.regression = fit_best_regression(*(self._by_candidate(rows) for rows in (clean, attacked)))
        self.tuned = {self.setting: self.candidates[self.chosen]}

    def score_features(self, features: Tensor) -> Tensor:
        return self.regression.logit(self._by_candidate(features)[:, self.chosen])

    def _by_candidate(self, features: Tensor) -> Tensor:
        return features.reshape(len(features), len(self.candidates), -1)


class MahalanobisFeatures(_BestCandidate):
    """Log-odds of attacked from each layer's squared distance to the nearest class (logistic regression).

    Each layer has a Gaussian a class, of one covariance, fitted to clean images with the class that the classifier
    predicts. Before a layer is read the image takes a small step towards the nearest class of that very layer; the fit
    picks the step of the highest AUROC. A step costs a pass for each layer: [0] is the cheap form, of a single pass.
    Multilabel: one Gaussian a layer for all images.

    Args:
        layers: names of layers; None: all convolutions and linear layers. Maps are averaged over places.
        steps: pixel units, numbers or fractions such as "1/255"; 0 is none; one or several.

    Source: Lee, Lee, Lee and Shin, NeurIPS 2018, arXiv:1807.03888; there Gaussians are fitted to training images, and
    their covariance is not shrunk.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.MahalanobisFeatures(layers=["relu"], steps=[0.0])
        >>> detector.prepare([digits], classifier, None)
        >>> detector.read(digits, classifier, None).shape
        torch.Size([8, 1])
    """

    setting = "step"
    gaussians: tuple[Gaussians, ...]

    def __init__(self, layers: Sequence[str] | None, steps: Sequence[float | str]) -> None:
        self.layers = LayerFeatures(layers, cells=1)
        self.steps = [checks.at_least("steps", checks.number("steps", step), 0) for step in steps]
        if not self.steps:
            raise ValueError("steps must be one or several, got none. Give [0] for no step.")
        self.candidates = self.steps

    def prepare_features(
        self, clean: Iterable[Batch], classifier: Classifier, with_autoencoder: Classifier | None
    ) -> None:
        rows, logits = (
            torch.cat(tensors) for tensors in zip(*(self.layers(b.image, classifier) for b in clean), strict=True)
        )
        predicted = logits.argmax(1) * (not classifier.task.multilabel)
        self.gaussians = tuple(fit_gaussians(layer, predicted) for layer in self.layers.split(rows.double()))

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """Distances of each step and layer, shape (B, steps * layers)."""
        still, moving = 0.0 in self.steps, any(self.steps)
        self.passes = still + moving * (1 + len(self.gaussians) * sum(step > 0 for step in self.steps))
        uphill: tuple[Tensor, ...] = ()  # signs of the gradient of each layer's distance, shape (B, C, H, W) each
        if moving:
            uphill = gradient_signs(batch.image, classifier, lambda leaf: self._distances(leaf, classifier))
        read = (self._stepped(batch.image, classifier, step, uphill) for step in self.steps)
        return torch.stack([distance for distances in read for distance in distances], 1)

    def _stepped(
        self, image: Tensor, classifier: Classifier, step: float, uphill: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """Distances in each layer after a step towards its nearest class; tensors of shape (B,)."""
        if not step:
            return self._distances(image, classifier)
        moved = (image - step * sign for sign in uphill)
        rows = (self.layers.of_layer(number, image, classifier) for number, image in enumerate(moved))
        return [gaussians.squared_distance(layer) for gaussians, layer in zip(self.gaussians, rows, strict=True)]

    def _distances(self, image: Tensor, classifier: Classifier) -> list[Tensor]:
        """Squared distance to the nearest class in each layer; tensors of shape (B,)."""
        layers = zip(self.gaussians, self.layers.split(self.layers(image, classifier)[0]), strict=True)
        return [gaussians.squared_distance(layer) for gaussians, layer in layers]


class LocalIntrinsicDimensionality(_BestCandidate):
    """Log-odds of attacked from each layer's local dimension (logistic regression).

    The dimension is estimated from the distances to the nearest of a minibatch of clean images, the reference. Images
    of a group (patient) are not compared with those of the reference that are of the same group: a digit and its
    attacked self would be near in any case. The fit picks the number of neighbours of the highest AUROC.

    Args:
        layers: names of layers; None: all without layers of their own that run once in a pass, as its source has it.
        cells: maps are averaged over a cells x cells grid, for large images; None: whole maps, as its source has them.
        neighbours: nearest reference images that are looked at, at least 2; one number or several.
        reference: images in the reference, the first ones that the detector is fitted to.

    Source: Ma et al., ICLR 2018, arXiv:1801.02613; there each minibatch that is read has a reference of its own.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.LocalIntrinsicDimensionality(layers=["relu"], cells=1, neighbours=[2], reference=8)
        >>> detector.prepare([digits], classifier, None)
        >>> detector.read(digits, classifier, None).shape
        torch.Size([8, 1])
    """

    setting = "neighbours"
    passes = 1
    references: tuple[Tensor, ...]  # (R, F) of each layer
    groups: Tensor  # (R,) of the reference

    def __init__(
        self, layers: Sequence[str] | None, cells: int | None, neighbours: Sequence[int], reference: int
    ) -> None:
        self.layers = LayerFeatures(layers, cells, every=True)
        self.neighbours = [int(checks.at_least("neighbours", number, 2)) for number in neighbours]
        if not self.neighbours:
            raise ValueError("neighbours must be one number or several, got none.")
        self.candidates = self.neighbours
        self.reference = checks.positive_int("reference", reference)

    def prepare_features(
        self, clean: Iterable[Batch], classifier: Classifier, with_autoencoder: Classifier | None
    ) -> None:
        rows, groups = [], []
        due = self.reference
        for batch in clean:
            first = batch.rows(slice(due))
            rows.append(self.layers(first.image, classifier)[0])
            groups.append(first.group)
            due -= len(first.image)
            if not due:
                break
        self.references, self.groups = self.layers.split(torch.cat(rows)), torch.cat(groups)

    def read_features(self, batch: Batch, classifier: Classifier, with_autoencoder: Classifier | None) -> Tensor:
        """Dimensions of each number of neighbours and layer, shape (B, neighbours * layers)."""
        same_group = batch.group.unsqueeze(1) == self.groups.to(batch.group)
        layers = self.layers.split(self.layers(batch.image, classifier)[0])
        dimensions = [
            self._dimensions(layer, near, same_group) for layer, near in zip(layers, self.references, strict=True)
        ]
        return torch.stack(dimensions, 2).flatten(1)

    def _dimensions(self, layer: Tensor, reference: Tensor, same_group: Tensor) -> Tensor:
        """Dimension by each number of neighbours, shape (B, neighbours)."""
        distance = torch.cdist(layer, reference.to(layer), compute_mode="use_mm_for_euclid_dist")
        nearest = distance.masked_fill(same_group, torch.inf).sort(1).values
        return torch.stack([dimension(nearest[:, :number]) for number in self.neighbours], 1)


def dimension(nearest: Tensor) -> Tensor:
    """Maximum-likelihood estimate of the local dimension, shape (B,), from nearest-neighbour distances.

    Minus one over the mean of log(r_i / r_k), over the distances r_1 <= ... <= r_k that are finite.

    Args:
        nearest: distances in ascending order, shape (B, k); an infinite one is to no neighbour.

    Source: Amsaleg et al., KDD 2015.
    """
    finite = nearest.isfinite()
    tiny = torch.finfo(nearest.dtype).tiny
    distance = torch.where(finite, nearest, 0).clamp(min=tiny)
    logs = (distance / distance.amax(1, keepdim=True)).log() * finite
    return -1 / (logs.sum(1) / finite.sum(1).clamp(min=1)).clamp(max=-1e-6)


def penultimate(image: Tensor, classifier: Classifier) -> tuple[nn.Linear, Tensor, Tensor]:
    """Final linear layer, its input, shape (B, F), and the logits, shape (B, K).

    Args:
        image: shape (B, C, H, W).
        classifier: of the logits.

    Raises:
        ValueError: there is no such layer.
    """
    runs: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def keep(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs.append((layer, inputs[0], output))

    with ExitStack() as hooks:
        for layer in classifier.network.modules():
            if isinstance(layer, nn.Linear):
                hooks.enter_context(layer.register_forward_hook(keep))
        logits = classifier(image)
    if not runs or runs[-1][1].ndim != 2 or runs[-1][2].shape != logits.shape:
        raise ValueError(
            "the network must end in a linear layer that gives the logits, of which the input can be read, got one "
            "without. Choose a detector that reads logits alone, such as max_softmax."
        )
    layer, features, _ = runs[-1]
    return layer, features, logits


class _PassEnds(Exception):
    """Ends a pass once the layer's output is known."""


class LayerFeatures:
    """Outputs of several layers in one pass; maps are averaged over a cells x cells grid.

    Args:
        names: layers of the network; None: all its convolutions and linear layers.
        cells: of the grid; 1 averages over the whole map, None keeps the map.
        every: whether None stands for all layers without layers of their own; what does not run once, or has not a row
            for each image, is left out.

    Raises:
        ValueError: no layer is named; at the first image, if there is no such layer, or it does not run exactly once.
    """

    def __init__(self, names: Sequence[str] | None, cells: int | None, every: bool = False) -> None:
        if names is not None and not len(names):
            raise ValueError("layers must name at least one layer, got none. Set layers to null to read all.")
        self.names = None if names is None else tuple(names)
        self.cells = None if cells is None else checks.positive_int("cells", cells)
        self.every = every
        self.sizes: tuple[int, ...] = ()  # features of each layer, known after the first pass
        self._read: tuple[str, ...] = ()  # names of the layers, likewise

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Run a blank image of this shape, (C, H, W); errors as for the first image."""
        with evaluating(classifier):
            self(torch.zeros(1, *shape, device=classifier.mean.device), classifier)

    def __call__(self, image: Tensor, classifier: Classifier) -> tuple[Tensor, Tensor]:
        """Concatenated features of all layers, shape (B, F), and the logits, shape (B, K)."""
        runs: dict[str, list[Tensor]] = {name: [] for name in self._names(classifier)}
        with ExitStack() as hooks:
            for name, outputs in runs.items():
                site = find_site(classifier, name)
                if site is None:
                    raise ValueError(f"layers must be layers of the network, got {name!r}.")
                hooks.enter_context(site.module.register_forward_hook(partial(self._keep, outputs)))
            logits = classifier(image)
        if self.every and self.names is None:
            runs = {name: out for name, out in runs.items() if len(out) == 1 and len(out[0]) == len(image)}
        for name, outputs in runs.items():
            if len(outputs) != 1:
                raise ValueError(f"layer {name!r} must run once in a forward pass, got {len(outputs)} runs.")
        features = [outputs[0] for outputs in runs.values()]
        self.sizes, self._read = tuple(layer.shape[1] for layer in features), tuple(runs)
        return torch.cat(features, 1), logits

    def of_layer(self, number: int, image: Tensor, classifier: Classifier) -> Tensor:
        """Features of one layer, shape (B, F), in a pass that ends there; requires an earlier full pass."""
        site = find_site(classifier, self._read[number])
        assert site is not None
        outputs: list[Tensor] = []

        def end(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._keep(outputs, layer, inputs, output)
            raise _PassEnds

        with suppress(_PassEnds), site.module.register_forward_hook(end):
            classifier(image)
        return outputs[0]

    def split(self, row: Tensor) -> tuple[Tensor, ...]:
        """Split concatenated features, shape (B, F), by layer; requires an earlier full pass."""
        if not self.sizes:
            raise ValueError("layers must be read of an image before their features can be separated.")
        return torch.split(row, list(self.sizes), dim=1)

    def _names(self, classifier: Classifier) -> tuple[str, ...]:
        if self.names is not None:
            return self.names
        layers = [(name, layer) for name, layer in classifier.network.named_modules() if name]
        names = [name for name, layer in layers if isinstance(layer, LEARNED)]
        if self.every:
            names = [name for name, layer in layers if not any(layer.children())]
        if not names:
            raise ValueError("the network must have convolutions or linear layers, got none. Name its layers.")
        return tuple(names)

    def _keep(self, outputs: list[Tensor], layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Record the features of a copy of the output, since the next layer may overwrite it."""
        copied = output.clone()
        if copied.ndim == 4 and self.cells is not None:
            copied = F.adaptive_avg_pool2d(copied, self.cells)
        outputs.append(copied.flatten(1))
