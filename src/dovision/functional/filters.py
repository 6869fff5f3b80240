"""Filters of whole images, shape (B, C, H, W) in [0, 1], each image and channel alone: pure functions.

All are differentiable, on the image's device and of its type. Where a filter is piecewise constant, its gradient is
that of the image itself (straight-through, arXiv:1308.3432): no derivative, but an adaptive attacker can follow it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

CUT = 4  # standard deviations at which a Gaussian ends


def reduce_depth(image: Tensor, bits: int) -> Tensor:
    """The nearest of 2^bits equally spaced values in [0, 1], of the image's shape; gradient straight-through."""
    levels = 2**bits - 1
    return straight_through(image, (image * levels).round() / levels)


def straight_through(image: Tensor, filtered: Tensor) -> Tensor:
    """Value of `filtered` with the gradient of `image`, both of one shape."""
    return filtered.detach() + (image - image.detach())


def median_filter(image: Tensor, window: int) -> Tensor:
    """The median of a window around each pixel, shape (B, C, H, W), mirrored beyond the border; of two the upper one.

    A window of even side reaches further up and to the left than down and to the right.
    """
    before, after = window // 2, window - 1 - window // 2
    windows = _padded(image, before, after, "symmetric").unfold(2, window, 1).unfold(3, window, 1)
    return windows.flatten(-2).sort(-1).values[..., window * window // 2]


def gaussian_filter(image: Tensor, sigma: float) -> Tensor:
    """Image smoothed by a Gaussian, shape (B, C, H, W), over edges that go on as they end.

    Args:
        sigma: standard deviation in pixels, above 0.
    """
    rows, columns = (gaussian_weights(sigma, 0, length, length).to(image) for length in image.shape[2:])
    return (rows @ image @ columns.T).clamp(0, 1)


def gaussian_weights(sigma: float, start: int, stop: int, length: int) -> Tensor:
    """Weights of a line's pixels in the smoothed pixels start to stop, shape (stop - start, length) float64."""
    radius = int(CUT * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1)
    bell = (-0.5 * (offset.double() / sigma) ** 2).exp()
    source = (torch.arange(start, stop).unsqueeze(1) + offset).clamp(0, length - 1)
    weights = torch.zeros(stop - start, length, dtype=bell.dtype)
    return weights.scatter_add_(1, source, (bell / bell.sum()).expand_as(source))


def non_local_means(image: Tensor, patch_size: int, patch_distance: int, h: float) -> Tensor:
    """Mean of the pixels nearby, shape (B, C, H, W), each weighted by how much its patch looks like the pixel's own.

    The weight of a pixel is exp(-d / h^2), d the squared difference of the patches, averaged over the channels and by a
    Gaussian over the patch. Channels share the weights. Mirrored beyond the border.

    Args:
        patch_size: side of a patch in pixels, odd.
        patch_distance: pixels up to that many rows and columns away are averaged.
        h: difference of patches that is taken for noise, in pixel units; the larger, the smoother.

    Source: Buades, Coll and Morel, CVPR 2005; arguments as of scikit-image's denoise_nl_means, which also leaves out
    weights below exp(-5).
    """
    reach = patch_size // 2
    padded = _padded(image, reach, reach, "reflect")
    bell = _patch_weights(patch_size).to(image) / (image.shape[1] * h * h)
    total, weights = image.clone(), torch.ones_like(image[:, :1])  # the pixel itself
    for down, across in _half_window(patch_distance, *image.shape[2:]):
        here, there = _overlap(image, down, across), _overlap(image, -down, -across)
        difference = _overlap(padded, down, across) - _overlap(padded, -down, -across)
        likeness = (-F.conv2d(difference.square().sum(1, keepdim=True), bell)).exp()
        _overlap(weights, down, across).add_(likeness)
        _overlap(weights, -down, -across).add_(likeness)
        _overlap(total, down, across).add_(likeness * there)
        _overlap(total, -down, -across).add_(likeness * here)
    return (total / weights).clamp(0, 1)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Image of 8 bits a channel after JPEG compression, shape (B, C, H, W); gradient straight-through.

    Args:
        image: of one channel (grey) or three (RGB).
        quality: 1 to 100.
    """
    pixels = (image.detach() * 255).round().to(torch.uint8).cpu()
    decoded = torch.stack([decode_jpeg(encode_jpeg(each, quality)) for each in pixels])
    return straight_through(image, decoded.to(image) / 255)


def shift(image: Tensor, rows: int, columns: int) -> Tensor:
    """Image moved down by `rows` and to the right by `columns`, shape (B, C, H, W); edges go on as they end."""
    down, across = (
        (torch.arange(length, device=image.device) - step).clamp(0, length - 1)
        for length, step in zip(image.shape[2:], (rows, columns), strict=True)
    )
    return image[:, :, down][..., across]


def rotate(image: Tensor, degrees: float) -> Tensor:
    """Image turned counter-clockwise around its centre, shape (B, C, H, W), bilinear; edges go on as they end."""
    height, width = image.shape[2:]
    turn = math.radians(degrees)
    cosine, sine = math.cos(turn), math.sin(turn)
    # In units of half the image's width and height, from a pixel to the one that is seen there.
    theta = image.new_tensor([[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]])
    grid = F.affine_grid(theta.expand(len(image), 2, 3), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False).clamp(0, 1)


def resample(image: Tensor, factor: float) -> Tensor:
    """Image resized by `factor` and back, shape (B, C, H, W), bilinear with antialiasing; at least one pixel small."""
    height, width = image.shape[2:]
    size = [max(1, round(length * factor)) for length in (height, width)]
    resized = F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
    again = F.interpolate(resized, size=(height, width), mode="bilinear", align_corners=False, antialias=True)
    return again.clamp(0, 1)


def _padded(image: Tensor, before: int, after: int, mode: str) -> Tensor:
    """Image with pixels beyond its border, as numpy.pad finds them."""
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(length), (before, after), mode=mode)).to(image.device)  # type: ignore[call-overload]
        for length in image.shape[2:]
    )
    return image[:, :, rows][..., columns]


def _patch_weights(size: int) -> Tensor:
    """Gaussian over a patch, shape (1, 1, size, size) float64, that sums to one; of one pixel a 1."""
    offset = torch.arange(size, dtype=torch.float64) - size // 2
    deviation = max(size - 1, 1) / 4
    bell = (-0.5 * (offset / deviation) ** 2).exp()
    return (bell.outer(bell) / bell.sum() ** 2).view(1, 1, size, size)


def _half_window(distance: int, height: int, width: int) -> list[tuple[int, int]]:
    """Steps down and across to the pixels of a window of which the opposite step is not listed, within the image."""
    rows, columns = min(distance, height - 1), min(distance, width - 1)
    window = [(down, across) for down in range(rows + 1) for across in range(-columns, columns + 1)]
    return [step for step in window if step > (0, 0)]


def _overlap(image: Tensor, down: int, across: int) -> Tensor:
    """Pixels of an image from which a step leads to another of its pixels; a view."""
    height, width = image.shape[2:]
    rows, columns = (slice(max(0, -step), length - max(0, step)) for step, length in ((down, height), (across, width)))
    return image[:, :, rows, columns]
