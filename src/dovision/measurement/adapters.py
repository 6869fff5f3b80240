"""Functions, arrays and objects of zennit and torchattacks as attacks, explainers, detectors and transforms."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.attacks.lp_ball import Ball
from dovision.functional.rng import seeded
from dovision.interfaces import Attack, Classifier, Context, Detector, Explainer
from dovision.types import Batch, Epsilons, Shape


class ExplainerFunction(Explainer):
    """Explainer from a function of a batch, a target and a classifier to maps, shape (B, h, w)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.of_batch = function

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return torch.as_tensor(self.of_batch(batch, target, classifier)).to(batch.image)


class AttackFunction(Attack):
    """Attack from a function of a batch, a classifier and an epsilon to images; other arguments as of Attack."""

    def __init__(self, function: Callable[..., Any], eps: Epsilons, norm: str = "linf") -> None:
        super().__init__(eps, norm)
        self.function = function

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return torch.as_tensor(self.function(batch, classifier, eps)).to(batch.image)


class DetectorFunction(Detector):
    """Detector from a function of a batch and a classifier to scores, shape (B,), higher for attacked images."""

    passes = 1

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        return torch.as_tensor(self.function(batch, classifier)).to(batch.image).reshape(len(batch.image), -1)


class ImageFunction:
    """Transform from a function of images, shape (B, C, H, W) in [0, 1], to such images, each alone."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return checks.image_batch(self.function(image), "the transformed image", "Clamp it: clamp(0, 1).")


class StoredMaps(Explainer):
    """Maps that exist already, by sample; nan for changed images and other networks, which have none.

    Args:
        maps: shape (N, h, w) or (N, 1, h, w), in the order of the images, positive where they speak for the class.

    Raises:
        ValueError: in a call, an image has no map, or several classes.
    """

    def __init__(self, maps: Any) -> None:
        maps = torch.as_tensor(maps).detach()
        self.maps = maps[:, 0] if maps.ndim == 4 and maps.shape[1] == 1 else maps
        if self.maps.ndim != 3:
            raise ValueError(f"maps must be of shape (N, h, w), got {tuple(maps.shape)}. Sum them over the channels.")
        self._originals: dict[int, tuple[float, int]] = {}  # by sample: its image, and the classifier

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        samples = batch.sample.tolist()
        if len(set(samples)) < len(samples) or max(samples) >= len(self.maps):
            raise ValueError(f"maps must be one an image, got {len(self.maps)} for samples up to {max(samples)}.")
        sums = batch.image.detach().double().square().sum((1, 2, 3)).tolist()
        pairs = zip(samples, ((total, id(classifier)) for total in sums), strict=True)
        is_changed = torch.tensor([self._originals.setdefault(sample, key) != key for sample, key in pairs])
        maps = self.maps[batch.sample.to(self.maps.device)].to(batch.image)
        return maps.masked_fill(is_changed.to(maps.device).view(-1, 1, 1), torch.nan)


class Zennit(Explainer):
    """Relevance of normalised images by zennit, such as layer-wise relevance propagation, summed over channels.

    Args:
        method: an object or a class of `zennit.composites` or `zennit.attribution`; an attributor's network is replaced
            by that of the classifier. The relevance of the class is 1.
        arguments: of a class, by name.

    Source: Anders et al., arXiv:2106.13200.
    """

    def __init__(self, method: Any, arguments: Mapping[str, Any] | None = None) -> None:
        attribution, network = import_module("zennit.attribution"), nn.Identity()
        if inspect.isclass(method):
            of_network = {"model": network} if issubclass(method, attribution.Attributor) else {}
            method = called("explainer", method, **of_network, **(arguments or {}))
        is_attributor = isinstance(method, attribution.Attributor)
        self.method = method if is_attributor else attribution.Gradient(network, method)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        method = copy.deepcopy(self.method, {id(self.method.model): classifier.network})
        one_hot = torch.eye(len(classifier.task.classes)).to(batch.image)[target]
        relevance: Tensor = method((batch.image.detach() - classifier.mean) / classifier.std, one_hot)[1]
        return relevance.sum(1)


class Torchattacks(Attack):
    """Attack of the library torchattacks on the classifier, image by image, seeded by (seed, sample).

    An image beyond epsilon is moved as far as epsilon allows.

    Args:
        method: a class, or an object, whose settings count and whose network is replaced by the classifier.
        eps: as of Attack; None: that of the object.
        settings: of a class, by name.
        seed: of all draws.

    Raises:
        ValueError: eps is missing, or another one than that of an attack that is made of several.

    Source: Kim, arXiv:2010.01950.
    """

    def __init__(
        self, method: Any, eps: Epsilons | None = None, settings: Mapping[str, Any] | None = None, seed: int = 0
    ) -> None:
        if inspect.isclass(method):
            method = called("attack", method, nn.Flatten(), **(settings or {}))
        base = import_module("torchattacks.attack").Attack
        name, radius = type(method).__name__, getattr(method, "eps", None)
        if (budget := radius if eps is None else eps) is None:
            raise ValueError(f"eps must be given with {name} of torchattacks, got none. Write eps=0.5, for one.")
        norm = getattr(method, "norm", "l2" if radius is None or name.endswith("L2") else "linf")
        super().__init__(budget, norm.lower())
        several = "attacks" in vars(method) or any(isinstance(value, base) for value in vars(method).values())
        if several and self.eps != (radius,):
            raise ValueError(f"eps must be that of {name}, {radius}, which is made of several attacks, got {eps!r}.")
        self.method, self.seed = method, checks.seed(seed)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        if classifier.task.multilabel:
            raise ValueError("torchattacks takes one class an image, got a multilabel task. Choose another attack.")

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        method, attacked = copy.deepcopy(self.method, {id(self.method.model): classifier}), []
        method.set_device(batch.image.device)
        if hasattr(method, "eps"):
            method.eps = eps
        # method() would undo a normalisation, but images are in [0, 1]
        for image, label, sample in zip(batch.image[:, None], batch.label[:, None], batch.sample.tolist(), strict=True):
            with seeded(image.device, self.seed, sample):
                attacked.append(Ball(image, eps, self.norm).project(method.forward(image, label).detach()))
        return torch.cat(attacked)


def takes(function: Callable[..., Any], count: int) -> bool:
    """Return whether a function takes so many arguments; one of a library in C is trusted."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # it has no signature
        pass
    return True


def called(group: str, make: Callable[..., Any], *positional: Any, **keywords: Any) -> Any:
    """Make a component of a class.

    Raises:
        ValueError: it takes no such arguments, or needs more.
    """
    try:
        inspect.signature(make).bind(*positional, **keywords)
    except TypeError as error:
        raise ValueError(f"{group} must be an object of {make.__name__}, got the class: {error}. Call it.") from error
    return make(*positional, **keywords)
