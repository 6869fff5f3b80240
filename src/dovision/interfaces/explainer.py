"""Explainers: maps of the evidence for a class."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import NamedTuple

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
