"""Attributions by captum: of gradients, of a window slid over the image, and of coalitions of cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import captum.attr
import torch
from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.functional.effects import SCALES, evidence
from dovision.functional.rng import seeded
from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch, Shape

_WINDOWS = 14  # windows along the shorter side, by default


class IntegratedGradients(Explainer):
    """Path integral of the class logit's gradient from a blank image, times the path, summed over channels.

    A map's sum is the logit of the image minus that of the blank one, but for the steps' error; the mean over several
    blank images.

    Args:
        steps: gradients per image and baseline.
        baselines: every pixel of each blank image, in pixel units.
        cells: a side of a grid over whose cells a map is summed: the share of each cell in the effect of fading the
            image to a blank one. None: pixel by pixel.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Sundararajan et al., arXiv:1703.01365.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.IntegratedGradients(steps=5)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self, steps: int = 50, baselines: Sequence[float] = (0.0,), cells: int | None = None, batch_size: int = 16
    ) -> None:
        self.steps = checks.positive_int("steps", steps)
        self.baselines = [checks.within("baselines", level, 0, 1, "It is in pixel units.") for level in baselines]
        if not self.baselines:
            raise ValueError("baselines must be at least one, got none. Name one, such as 0.0, which is black.")
        self.cells = None if cells is None else checks.positive_int("cells", cells)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        if self.cells is not None:
            geometry.grid_cell(shape, 0, self.cells, self.cells)  # raises if the grid is too fine

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return self.run_each(batch, target, classifier).mean(1)

    def run_each(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        gradients = captum.attr.IntegratedGradients(classifier)
        sizes = {"n_steps": self.steps, "internal_batch_size": self.batch_size}
        attributions = [
            torch.stack([gradients.attribute(image, blank, wanted, **sizes).sum(1) for blank in self.baselines], 1)
            for image, wanted in chunks(batch, target, self.batch_size)
        ]
        return self._summed(torch.cat(attributions))

    def _summed(self, maps: Tensor) -> Tensor:
        """Sum maps over each cell; unchanged without cells."""
        if self.cells is None:
            return maps
        summed, shape = torch.empty_like(maps), (1, *maps.shape[2:])
        for cell in range(self.cells**2):
            region = geometry.grid_cell(shape, cell, self.cells, self.cells)
            region.crop(summed)[:] = region.crop(maps).sum((2, 3), keepdim=True)
        return summed


class SmoothGrad(Explainer):
    """Absolute mean gradient of the class logit over noisy copies of the image, summed over channels.

    Args:
        draws: noisy copies per image.
        sigma: standard deviation of the noise, in pixel units.
        seed: of the noise; the same seed and sample give the same noise.
        batch_size: noisy copies a pass; the map depends on it in its last bits.

    Source: Smilkov et al., arXiv:1706.03825.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.SmoothGrad(seed=0, draws=4)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(self, seed: int, draws: int = 50, sigma: float = 0.15, batch_size: int = 16) -> None:
        self.seed = checks.seed(seed)
        self.draws = checks.positive_int("draws", draws)
        self.sigma = checks.positive("sigma", sigma)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(classifier))
        settings: dict[str, Any] = {"nt_type": "smoothgrad", "nt_samples": self.draws, "stdevs": self.sigma}
        settings |= {"nt_samples_batch_size": min(self.batch_size, self.draws), "abs": False}
        gradients = []
        for sample, (image, wanted) in zip(batch.sample.tolist(), chunks(batch, target, 1), strict=True):
            with seeded(image.device, self.seed, sample):
                gradients.append(tunnel.attribute(image, target=wanted, **settings))
        return torch.cat(gradients).abs().sum(1)


class KernelSHAP(Explainer):
    """Shapley values of grid cells by weighted regression on coalitions; left-out cells are painted.

    Args:
        rows, columns: of the grid.
        draws: coalitions per image; fewer than there are cells leave the regression underdetermined.
        fill: what a cell that is left out is painted with, in pixel units.
        scale: probability or log_odds.
        seed: of the coalitions; the same seed and sample give the same ones.
        batch_size: coalitions a pass; the map depends on it in its last bits.

    Source: Lundberg and Lee, arXiv:1705.07874.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.KernelSHAP(seed=0, rows=2, columns=2, draws=20)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self,
        seed: int,
        rows: int = 7,
        columns: int = 7,
        draws: int = 500,
        fill: float = 0.0,
        scale: str = "log_odds",
        batch_size: int = 16,
    ) -> None:
        self.seed = checks.seed(seed)
        self.rows, self.columns = checks.positive_int("rows", rows), checks.positive_int("columns", columns)
        self.draws = checks.positive_int("draws", draws)
        self.fill = checks.within("fill", fill, 0, 1, "It is in pixel units.")
        self.scale = checks.choice("scale", scale, SCALES)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self._cells(shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        shap = captum.attr.KernelShap(lambda image: evidence(classifier(image), classifier.task, self.scale))
        cells = self._cells(tuple(batch.image.shape[1:])).to(batch.image.device)
        settings = {"n_samples": self.draws, "perturbations_per_eval": self.batch_size}
        values = []
        for sample, (image, wanted) in zip(batch.sample.tolist(), chunks(batch, target, 1), strict=True):
            with torch.no_grad(), seeded(image.device, self.seed, sample):
                values.append(shap.attribute(image, self.fill, wanted, feature_mask=cells, **settings))
        return torch.cat(values)[:, 0]  # the same in every channel

    def _cells(self, shape: Shape) -> Tensor:
        """Cell number of each pixel, shape (1, 1, H, W)."""
        cells = torch.zeros(shape[1:], dtype=torch.int64)
        for cell in range(self.rows * self.columns):
            geometry.grid_cell(shape, cell, self.rows, self.columns).crop(cells).fill_(cell)
        return cells[None, None]


class Occlusion(Explainer):
    """Loss of class evidence under a painted window, averaged where windows overlap.

    Args:
        window: its side, in pixels; None is a fourteenth of the image's shorter side.
        stride: from window to window, in pixels, at most `window`; None is the same fourteenth.
        fill: what the window is painted with, in pixel units.
        scale: probability or log_odds.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Zeiler and Fergus, arXiv:1311.2901.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.Occlusion(window=2, stride=2)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
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
