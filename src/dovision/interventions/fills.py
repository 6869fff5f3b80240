"""What a region of an image is replaced with: in pixel units, on all channels."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dovision import checks
from dovision.contracts import Box, Context, generator


class Fill(Protocol):
    """From whole images, shape (B, C, H, W) in [0, 1], to the region's new content, shape (B, C, h, w) in [0, 1]."""

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor: ...


class Constant:
    """One value for every pixel; 0 is black and 1 is white, whatever the classifier's normalisation."""

    def __init__(self, value: float) -> None:
        self.value = checks.within("value", value, 0, 1, "A fill is in pixel units.")

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        return torch.full_like(region.crop(value), self.value)


class Mean:
    """The mean of the image itself, channel by channel."""

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        return value.mean((-2, -1), keepdim=True).expand(*value.shape[:2], region.height, region.width)


class Blur:
    """The region as it looks in the blurred image: a Gaussian, cut at 4 sigma, over edges that go on as they end.

    Args:
        sigma: the Gaussian's standard deviation, in pixels.
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = checks.positive("sigma", sigma)

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        rows = self._weights(region.top, region.bottom, value.shape[-2]).to(value)
        columns = self._weights(region.left, region.right, value.shape[-1]).to(value)
        return (rows @ value @ columns.T).clamp(0, 1)

    def _weights(self, start: int, stop: int, length: int) -> Tensor:
        """What each pixel of a line gives to the blurred pixels start <= p < stop; shape (stop - start, length)."""
        radius = int(4 * self.sigma + 0.5)
        offset = torch.arange(-radius, radius + 1)
        bell = torch.exp(-0.5 * (offset.double() / self.sigma) ** 2)
        source = (torch.arange(start, stop).unsqueeze(1) + offset).clamp(0, length - 1)
        weights = torch.zeros(stop - start, length, dtype=bell.dtype)
        return weights.scatter_add_(1, source, (bell / bell.sum()).expand_as(source))


class Noise:
    """Uniform noise in [0, 1], drawn anew for each sample and region.

    Args:
        seed: of the draws; the same seed, sample and region give the same noise.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, value: Tensor, region: Box, context: Context) -> Tensor:
        shape = (value.shape[1], region.height, region.width)
        random = [generator(self.seed, sample, *region) for sample in context.batch.sample.tolist()]
        return torch.stack([torch.rand(shape, generator=one) for one in random]).to(value)
