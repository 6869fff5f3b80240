"""Explainers: maps of the evidence for a class."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces.classifier import Classifier, ClassifierComponent
from dovision.interfaces.dataset import Images
from dovision.module_state import differentiable
from dovision.types import Batch


class Explanation(NamedTuple):
    """Maps at the image's size, and the spread of the maps that they average."""

    map: Tensor  # (B, H, W) float32, positive where the image speaks for the class
    spread: Tensor  # (B, H, W) float32, the standard deviation over the maps of `Explainer.run_each`; nan if it is one


class Explainer(ClassifierComponent, ABC):
    """Map of an image that is positive where the image speaks for a class.

    A subclass writes `run`, or also `run_each` if its map is the mean of several; this class guards the range and the
    classifier's state, brings maps to the image's size, and counts forward passes.

    Example:
        >>> class Bright(dv.Explainer):
        ...     def run(self, batch, target, classifier):
        ...         return batch.image.mean(1)
        >>> classifier, digits = dv.example()
        >>> Bright()(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    counts_passes = False  # whether `run` does so itself, since it does not run the classifier as a whole
    _passes = 0  # forward passes of one image each
    _drawn = 0  # maps

    @property
    def passes(self) -> float:
        """Mean number of forward passes per map and image so far; nan before the first map.

        A pass with a gradient counts as one; an edit of which only what descends from it is recomputed, too.
        """
        return self._passes / self._drawn if self._drawn else math.nan

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of forward passes and of maps so far."""
        return self._passes, self._drawn

    def bind(self, images: Images, split: str) -> None:
        """Prepare for a split's images before the first map; nothing by default."""

    @abstractmethod
    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """Maps of any size, shape (B, h, w), of class target[b] of image b.

        Called with gradients enabled, the classifier in eval mode with its parameters frozen, and images that require
        a gradient. The map of an image does not depend on the others of the batch.
        """

    def run_each(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """M maps that average to `run`, shape (B, M, h, w), such as one per baseline; arguments as of `run`."""
        return self.run(batch, target, classifier).unsqueeze(1)

    def __call__(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        """The map of `explain`, shape (B, H, W) float32, without its spread."""
        return self.explain(batch, target, classifier).map

    def explain(self, batch: Batch, target: Tensor, classifier: Classifier) -> Explanation:
        """Maps at the image's size (smaller ones are interpolated), with their spread, for target, shape (B,).

        Leaves no gradient in the parameters, and the mode of every submodule as it was.
        """
        checks.image_batch(batch.image)

        def count(module: nn.Module, images: tuple[Tensor, ...], logits: Tensor) -> None:
            self._passes += len(logits)

        counting = nullcontext() if self.counts_passes else classifier.register_forward_hook(count)
        with differentiable(classifier), counting:
            detached = batch.detached()
            detached.image.requires_grad_()
            maps = self.run_each(detached, target.clone(), classifier).detach().float()
        checks.maps(type(self).__name__, maps[:, 0], len(batch.image))
        self._drawn += len(maps)
        spread = maps.std(1, correction=0) if maps.shape[1] > 1 else torch.full_like(maps[:, 0], torch.nan)
        both = torch.stack([maps.mean(1), spread], 1)
        if maps.shape[2:] != batch.image.shape[2:]:
            both = F.interpolate(both, size=batch.image.shape[2:], mode="bilinear", align_corners=False)
        return Explanation(both[:, 0], both[:, 1])

    def function(self, classifier: Classifier) -> Callable[..., Any]:
        """Function of images and classes to attributions, as metrics of captum and Quantus call an explainer.

        With captum `sensitivity_max(explainer.function(classifier), images, target=target)`, with Quantus `metric(
        classifier, x, y, explain_func=explainer.function(classifier))`. Images outside [0, 1], which both make, are
        clipped, with one warning. Attributions of tensors are shaped as the images, and sum to the map over channels;
        those of arrays have shape (B, 1, H, W).
        """
        warned = list[str]()

        def attributions(inputs: Any, target: Any = None, *, targets: Any = None, **_: object) -> Any:
            images = inputs[0] if isinstance(inputs, tuple) else inputs
            image = torch.as_tensor(images).to(classifier.mean)
            label = torch.as_tensor(target if targets is None else targets, device=image.device)
            label, clipped = label.long().flatten().expand(len(image)), image.clamp(0, 1)
            if not warned and not torch.equal(image, clipped):
                warned.append("images outside [0, 1] are clipped before they are explained.")
                warnings.warn(warned[0], stacklevel=2)
            sample = torch.arange(len(image), device=image.device)
            maps = self(Batch(clipped, label, sample, sample), label, classifier).unsqueeze(1)
            if isinstance(images, np.ndarray):
                return maps.cpu().numpy()
            shared = (maps / image.shape[1]).expand_as(image).contiguous()
            return (shared,) if isinstance(inputs, tuple) else shared

        return attributions
