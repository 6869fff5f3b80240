"""Filters of whole images, shape (B, C, H, W) in [0, 1], each image and channel alone: pure functions.

All are differentiable, on the image's device and of its type. Where a filter is piecewise constant, its gradient is
that of the image itself (straight-through, arXiv:1308.3432), or of a smooth step: no derivative, but an adaptive
attacker can follow it.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STEP_WIDTH = 0.08  # of the smooth steps that stand for those of `reduce_depth` in gradients, in levels
STRAIGHT = 0.2  # share of the image's own gradient in these, so that pixels far from a step have one
CUT = 4  # standard deviations at which a Gaussian ends
LEAST_WEIGHT = 0.001  # of non-local means, of those that count
_RGB = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]  # to XYZ, D65
XYZ = np.array(_RGB) / np.sum(_RGB, 1, keepdims=True)  # of linear RGB, white being 1, 1, 1
DARK, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116  # Lab is linear below: 7.787 times the light and 16 / 116


def reduce_depth(image: Tensor, bits: int) -> Tensor:
    """Round to 2^bits equally spaced values in [0, 1]; same shape.

    The gradient is that of logistic steps in place of hard ones, mixed with that of the image: a pixel moves most where
    it is about to change its level. Of 29 MNIST digits attacked in L2 at 2.0 (60 steps, one start) `EffectConsistency`
    was evaded on 21 with it, and on 7 with the gradient of the image alone.

    Source: Athalye et al., arXiv:1802.00420.
    """
    levels = 2**bits - 1
    scaled = image.detach() * levels
    nearby = ((scaled - scaled.floor() - 0.5) / STEP_WIDTH).sigmoid()
    slope = STRAIGHT + (1 - STRAIGHT) * nearby * (1 - nearby) / STEP_WIDTH
    return scaled.round() / levels + slope * (image - image.detach())


def straight_through(image: Tensor, filtered: Tensor) -> Tensor:
    """Value of `filtered` with the gradient of `image`, both of one shape."""
    return filtered.detach() + (image - image.detach())


def median_filter(image: Tensor, window: int) -> Tensor:
    """Median of a window around each pixel, shape (B, C, H, W), mirrored at the border; upper one of two.

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

    The weight of a pixel is exp(-d / h^2), d the squared difference of the patches, averaged over patch and channels;
    below .001 it is 0. Mirrored beyond the border. Three channels are RGB and smoothed in Lab, without a gamma and of 8
    bits: lightness alone, the two others by common weights. Other channels share the weights. Gradient straight-through
    where values are rounded.

    Args:
        patch_size: side of a patch in pixels, odd.
        patch_distance: pixels up to that many rows and columns away are averaged.
        h: difference of patches that is taken for noise, in pixel units; the larger, the smoother.

    Source: Buades, Coll and Morel, CVPR 2005; numbers as of OpenCV's fastNlMeansDenoising, and of
    fastNlMeansDenoisingColored with the same h for lightness and colour.
    """
    if image.shape[1] != 3:
        return _mean_of_alike(image, patch_size, patch_distance, h).clamp(0, 1)
    lab = _in_8_bits(_lab(image))
    smooth = [_mean_of_alike(channels, patch_size, patch_distance, h) for channels in (lab[:, :1], lab[:, 1:])]
    return _rgb(_in_8_bits(torch.cat(smooth, 1))).clamp(0, 1)


def _in_8_bits(channels: Tensor) -> Tensor:
    return straight_through(channels, (channels * 255).round() / 255)


def _mean_of_alike(image: Tensor, patch_size: int, distance: int, h: float) -> Tensor:
    """Mean of pixels with similar patches, shape (B, C, H, W); each weight serves both pixels of a pair."""
    (height, width), reach = image.shape[2:], patch_size // 2
    around = _padded(image, distance + reach, distance + reach, "reflect")
    patch = image.new_full((1, 1, patch_size, patch_size), 1 / (patch_size**2 * image.shape[1] * h * h))
    total, weights = image.clone(), torch.ones_like(image[:, :1])  # the pixel itself
    steps = [(down, across) for down in range(distance + 1) for across in range(-distance, distance + 1)]
    for down, across in [step for step in steps if step > (0, 0)]:
        left, right = max(-across, 0), max(across, 0)
        size = height + down + 2 * reach, width + left + right + 2 * reach  # with the pixels that a step leads from
        here = _window(around, distance - down, distance - right, *size)
        there = _window(around, distance, distance - left, *size)
        likeness = (-F.conv2d((there - here).square().sum(1, keepdim=True), patch)).exp()
        likeness = likeness * (likeness >= LEAST_WEIGHT)
        for row, column, sign in ((down, right, 1), (0, left, -1)):
            weight = _window(likeness, row, column, height, width)
            start = distance + reach + sign * down, distance + reach + sign * across
            total, weights = total + weight * _window(around, *start, height, width), weights + weight
    return total / weights


def _window(image: Tensor, row: int, column: int, height: int, width: int) -> Tensor:
    return image[:, :, row : row + height, column : column + width]


def _lab(image: Tensor) -> Tensor:
    """Lab of linear RGB, shape (B, 3, H, W), as OpenCV scales it to 8 bits, in [0, 1]."""
    xyz = torch.einsum("ij,bjhw->bihw", image.new_tensor(XYZ), image)
    root = torch.where(xyz > DARK, xyz.clamp(min=DARK) ** (1 / 3), SLOPE * xyz + OFFSET)
    x, y, z = root.unbind(1)
    return torch.stack([(116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255], 1)


def _rgb(lab: Tensor) -> Tensor:
    """Inverse of `_lab`, shape (B, 3, H, W); outside [0, 1] where no colour has such a Lab."""
    lightness, a, b = lab.unbind(1)
    y = (lightness * 100 + 16) / 116
    root = torch.stack([y + (a * 255 - 128) / 500, y, y - (b * 255 - 128) / 200], 1)
    xyz = torch.where(root > SLOPE * DARK + OFFSET, root**3, (root - OFFSET) / SLOPE)
    return torch.einsum("ij,bjhw->bihw", lab.new_tensor(np.linalg.inv(XYZ)), xyz)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Image of 8 bits a channel after JPEG compression, shape (B, C, H, W); gradient straight-through.

    Args:
        image: of one channel (grey) or three (RGB).
        quality: 1 to 100.
    """
    from torchvision.transforms.v2 import functional as transforms  # with torch's compiler, a second

    pixels = (image.detach() * 255).round().to(torch.uint8).cpu()
    return straight_through(image, transforms.jpeg(pixels, quality).to(image) / 255)


def shift(image: Tensor, rows: int, columns: int) -> Tensor:
    """Image moved down by `rows` and to the right by `columns`, shape (B, C, H, W); edges go on as they end."""
    down, across = (
        (torch.arange(length, device=image.device) - step).clamp(0, length - 1)
        for length, step in zip(image.shape[2:], (rows, columns), strict=True)
    )
    return image[:, :, down][..., across]


def rotate(image: Tensor, degrees: float) -> Tensor:
    """Image turned counter-clockwise around its centre, shape (B, C, H, W), bilinear; edges go on as they end."""
    still = torch.zeros(len(image), dtype=torch.float64)
    return rotate_and_shift(image, still + degrees, still, still)


def rotate_and_shift(image: Tensor, degrees: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images, shape (B, C, H, W), each turned as by `rotate`, and moved by shares of its sides, shapes (B,)."""
    (height, width), turn = image.shape[2:], degrees.cpu().double().deg2rad()  # some GPUs have no float64
    cosine, sine = turn.cos(), turn.sin()
    # In units of half the image's width and height, from a pixel to the one that is seen there.
    theta = torch.stack(
        [cosine, -sine * height / width, -2 * columns.cpu(), sine * width / height, cosine, -2 * rows.cpu()], 1
    )
    grid = F.affine_grid(theta.to(image).view(-1, 2, 3), list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False).clamp(0, 1)


def resample(image: Tensor, factor: float) -> Tensor:
    """Image resized by `factor` and back, shape (B, C, H, W), bilinear with antialiasing; at least one pixel small."""
    from torchvision.transforms.v2 import functional as transforms  # as in `jpeg`

    height, width = image.shape[2:]
    resized = transforms.resize(image, [max(1, round(length * factor)) for length in (height, width)])
    return transforms.resize(resized, [height, width]).clamp(0, 1)


def _padded(image: Tensor, before: int, after: int, mode: str) -> Tensor:
    """Image padded as by numpy.pad."""
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(length), (before, after), mode=mode)).to(image.device)  # type: ignore[call-overload]
        for length in image.shape[2:]
    )
    return image[:, :, rows][..., columns]
