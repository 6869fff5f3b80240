"""Fills that replace a region of an image: in pixel units, on all channels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dovision import checks
from dovision.functional.filters import gaussian_weights
from dovision.functional.rng import uniform
from dovision.interfaces import Context, Intervention, PastableRepr
from dovision.interventions.transforms import ImageTransform
from dovision.types import INPUT, Box


class Fill(Protocol):
    """New content of a region, shape (B, C, h, w), from whole images, shape (B, C, H, W), both in [0, 1]."""

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor: ...


class ImageFill(PastableRepr, ABC):
    """Fill of which each region has its crop: images are painted as a whole, once for all units."""

    @abstractmethod
    def canvas(self, value: Tensor, context: Context) -> Tensor:
        """Whole images as they are painted, of the shape of `value`, (B, C, H, W)."""

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        return region.crop(self.canvas(value, context))


class Constant(ImageFill):
    """One value for every pixel; 0 is black and 1 is white, whatever the classifier's normalisation.

    Args:
        value: in [0, 1], pixel units.

    Example:
        >>> dv.PixelGrid(2, 2, fill=dv.Constant(0.0))
        PixelGrid(rows=2, columns=2, fill=Constant(value=0.0))
    """

    def __init__(self, value: float) -> None:
        self.value = checks.within("value", value, 0, 1, "A fill is in pixel units.")

    def canvas(self, value: Tensor, context: Context) -> Tensor:
        return value.new_full((), self.value).expand_as(value)


class Mean(ImageFill):
    """Channel mean of the image.

    Example:
        >>> dv.PixelGrid(2, 2, fill=dv.Mean())
        PixelGrid(rows=2, columns=2, fill=Mean())
    """

    def canvas(self, value: Tensor, context: Context) -> Tensor:
        return value.mean((-2, -1), keepdim=True).expand_as(value)


class Blur(PastableRepr):
    """Region of the Gaussian-blurred image, cut at 4 sigma, edges repeated.

    Args:
        sigma: the Gaussian's standard deviation, in pixels.

    Example:
        >>> dv.PixelGrid(2, 2, fill=dv.Blur(sigma=2.0))
        PixelGrid(rows=2, columns=2, fill=Blur(sigma=2.0))
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = checks.positive("sigma", sigma)

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        on = value.device, value.dtype
        rows = _weights(self.sigma, region.top, region.bottom, value.shape[-2], *on)
        columns = _weights(self.sigma, region.left, region.right, value.shape[-1], *on)
        return (rows @ value @ columns.T).clamp(0, 1)


class Noise(PastableRepr):
    """Uniform noise in [0, 1], drawn independently for each sample and region.

    Args:
        seed: of the draws; the same seed, sample and region give the same noise.

    Example:
        >>> dv.PixelGrid(2, 2, fill=dv.Noise(seed=0))
        PixelGrid(rows=2, columns=2, fill=Noise(seed=0))
    """

    def __init__(self, seed: int) -> None:
        self.seed = checks.seed(seed)

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        shape = (value.shape[1], region.height, region.width)
        return uniform(shape, self.seed, context.batch.sample, *region).to(value)


class Inpaint(PastableRepr):
    """Harmonic interpolation of the pixels around the region, like a soap film in a frame.

    Each pixel of the region is the mean of its neighbours to the left and right, above and below, as far as they lie
    inside the image. So it stays between the lowest and the highest pixel around the region, and continues a ramp.

    Raises:
        ValueError: the region is the whole image.

    Example:
        >>> dv.PixelGrid(2, 2, fill=dv.Inpaint())
        PixelGrid(rows=2, columns=2, fill=Inpaint())
    """

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        height, width = value.shape[-2:]
        ends = region.top > 0, region.bottom < height, region.left > 0, region.right < width
        if not any(ends):
            raise ValueError(
                f"a region that is inpainted must have pixels around it, got all {height} x {width} of the image. "
                "Make the region smaller, or choose another fill."
            )
        # The equations are (rows' differences + columns' differences) surface = neighbours: a Sylvester equation,
        # solved where both differences are diagonal.
        down, modes_down = (factor.to(value.device) for factor in _differences(region.height, *ends[:2]))
        across, modes_across = (factor.to(value.device) for factor in _differences(region.width, *ends[2:]))
        spectrum = modes_down.T @ _neighbours(value, region) @ modes_across
        surface = modes_down @ (spectrum / (down.unsqueeze(1) + across)) @ modes_across.T
        return surface.clamp(0, 1).to(value.dtype)


class Transformed(ImageFill):
    """Region of the transformed image; closer to the data than a constant.

    Args:
        transform: of whole images, such as MedianFilter(2).

    Example:
        >>> dv.PixelGrid(2, 2, fill=dv.Transformed(dv.MedianFilter(2)))
        PixelGrid(rows=2, columns=2, fill=Transformed(transform=MedianFilter(window=2)))
    """

    def __init__(self, transform: ImageTransform) -> None:
        self.transform = transform

    def canvas(self, value: Tensor, context: Context) -> Tensor:
        return self.transform(value, context)


class Painting(Intervention):
    """do(region = fill) on regions of the image, or a share of it in each pixel, as of `shares`."""

    site = INPUT
    fill: Fill

    def canvas(self, value: Tensor, context: Context) -> Tensor | None:
        if isinstance(self.fill, ImageFill) and type(self.fill).__call__ is ImageFill.__call__:
            return self.fill.canvas(value, context)
        return None

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        region = self.region(tuple(value.shape[1:]), unit, int(context.batch.sample[0]))
        assert region is not None
        return self.fill(value, region, context)


def _neighbours(value: Tensor, region: Box) -> Tensor:
    """Sum of known neighbours outside the region for each of its pixels; shape (B, C, h, w)."""
    top, left, bottom, right = region
    # The slice of a neighbouring line is empty, and its sum zero, where the region ends at the image's border.
    total = torch.zeros_like(region.crop(value), dtype=torch.float64)
    total[..., :1, :] += value[..., max(top - 1, 0) : top, left:right].sum(-2, keepdim=True, dtype=torch.float64)
    total[..., -1:, :] += value[..., bottom : bottom + 1, left:right].sum(-2, keepdim=True, dtype=torch.float64)
    total[..., :1] += value[..., top:bottom, max(left - 1, 0) : left].sum(-1, keepdim=True, dtype=torch.float64)
    total[..., -1:] += value[..., top:bottom, right : right + 1].sum(-1, keepdim=True, dtype=torch.float64)
    return total


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def _weights(sigma: float, start: int, stop: int, length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Weights of `gaussian_weights` on a device, uploaded once."""
    return gaussian_weights(sigma, start, stop, length).to(device, dtype)


@lru_cache(maxsize=256)
def _differences(length: int, start: bool, stop: bool) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of the negated second difference on a line of pixels.

    start, stop: whether the line goes on, with known pixels, at its ends; otherwise nothing flows there.
    """
    neighbours = torch.full((length,), 2.0, dtype=torch.float64)
    neighbours[:1] -= int(not start)
    neighbours[-1:] -= int(not stop)
    beside = torch.ones(max(0, length - 1), dtype=torch.float64)
    eigenvalues, eigenvectors = torch.linalg.eigh(neighbours.diag() - beside.diag(1) - beside.diag(-1))
    return eigenvalues, eigenvectors
