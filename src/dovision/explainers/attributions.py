"""Attributions by captum: integrated gradients, and occlusion by a window slid over the image."""

from __future__ import annotations

from collections.abc import Iterator

import captum.attr
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.effects import SCALES, evidence
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape

_WINDOWS = 14  # windows along the shorter side, by default


class IntegratedGradients(Explainer):
    """The gradient of the class's logit along the way from a blank image, times the way; summed over channels.

    A map's sum is the logit of the image minus that of the blank one, but for the steps' error.

    Args:
        steps: gradients per image.
        baseline: every pixel of the blank image, in pixel units.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Sundararajan et al., arXiv:1703.01365.
    """

    def __init__(self, steps: int = 50, baseline: float = 0.0, batch_size: int = 16) -> None:
        self.steps = checks.positive_int("steps", steps)
        self.baseline = checks.within("baseline", baseline, 0, 1, "It is in pixel units.")
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        gradients = captum.attr.IntegratedGradients(classifier)
        attributions = [
            gradients.attribute(image, self.baseline, wanted, n_steps=self.steps, internal_batch_size=self.batch_size)
            for image, wanted in chunks(batch, target, self.batch_size)
        ]
        return torch.cat(attributions).sum(1)


class Occlusion(Explainer):
    """By how much the class loses when a window is painted over; the mean where windows overlap.

    Args:
        window: its side, in pixels; None is a fourteenth of the image's shorter side.
        stride: from window to window, in pixels, at most `window`; None is the same fourteenth.
        fill: what the window is painted with, in pixel units.
        scale: probability or log_odds.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Zeiler and Fergus, arXiv:1311.2901.
    """

    def __init__(
        self,
        window: int | None = None,
        stride: int | None = None,
        fill: float = 0.0,
        scale: str = "probability",
        batch_size: int = 16,
    ) -> None:
        self.window = None if window is None else checks.positive_int("window", window)
        self.stride = None if stride is None else checks.positive_int("stride", stride)
        self.fill = checks.within("fill", fill, 0, 1, "It is in pixel units.")
        self.scale = checks.choice("scale", scale, SCALES)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self._sizes(*shape[1:])

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        window, stride = self._sizes(*batch.image.shape[2:])
        channels = batch.image.shape[1]
        occlusion = captum.attr.Occlusion(lambda image: evidence(classifier(image), classifier.task, self.scale))
        attributions = [
            occlusion.attribute(
                image,
                sliding_window_shapes=(channels, window, window),
                strides=(channels, stride, stride),
                baselines=self.fill,
                target=wanted,
                perturbations_per_eval=self.batch_size // len(image),
            )
            for image, wanted in chunks(batch, target, self.batch_size)
        ]
        return torch.cat(attributions)[:, 0]  # the same in every channel

    def _sizes(self, height: int, width: int) -> tuple[int, int]:
        """Side of the window and stride, in pixels."""
        usual = max(1, round(min(height, width) / _WINDOWS))
        window, stride = self.window or usual, self.stride or usual
        if window > min(height, width):
            raise ValueError(f"window must fit into the {height} x {width} image, got {window} pixels.")
        if stride > window:
            raise ValueError(
                f"stride must be at most the window's {window} pixels, so that no pixel is left out, got {stride}."
            )
        return window, stride


def chunks(batch: Batch, target: Tensor, size: int) -> Iterator[tuple[Tensor, list[int]]]:
    """Images without gradients and their classes, at most `size` at a time."""
    images, classes = (torch.split(value, size) for value in (batch.image.detach(), target))
    for image, wanted in zip(images, classes, strict=True):
        yield image, wanted.tolist()
