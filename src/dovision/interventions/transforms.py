"""Transforms of whole images that keep what a person sees: smoothing, compression, noise and small movements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from dovision import checks
from dovision.functional import filters
from dovision.functional.rng import as_signs, uniform
from dovision.interfaces import Context, PastableRepr

FARTHEST = 2**15  # pixels that an image is shifted by, either way


class ImageTransform(Protocol):
    """Function from images to images, shape (B, C, H, W) in [0, 1], each alone; differentiable, see `filters`.

    Random numbers depend on a seed and `context.batch.sample` alone.
    """

    def __call__(self, image: Tensor, context: Context) -> Tensor: ...


class BitDepth(PastableRepr):
    """Reduction of the bits per channel.

    Args:
        bits: 1 to 8.

    Source: Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155.

    Example:
        >>> dv.Transform({"changed": dv.BitDepth(1)})
        Transform(transforms={'changed': BitDepth(bits=1)})
    """

    def __init__(self, bits: int) -> None:
        self.bits = checks.bounded("bits", bits, 1, 8)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.reduce_depth(image, self.bits)


class MedianFilter(PastableRepr):
    """The median of a window around each pixel.

    Args:
        window: its side in pixels.

    Source: Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155.

    Example:
        >>> dv.Transform({"changed": dv.MedianFilter(2)})
        Transform(transforms={'changed': MedianFilter(window=2)})
    """

    def __init__(self, window: int) -> None:
        self.window = checks.positive_int("window", window)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.median_filter(image, self.window)


class GaussianFilter(PastableRepr):
    """Gaussian smoothing.

    Args:
        sigma: its standard deviation in pixels.

    Source: smoothing as a test for attacks, Liang et al., arXiv:1705.08378.

    Example:
        >>> dv.Transform({"changed": dv.GaussianFilter(0.7)})
        Transform(transforms={'changed': GaussianFilter(sigma=0.7)})
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = checks.positive("sigma", sigma)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.gaussian_filter(image, self.sigma)


class NonLocalMeans(PastableRepr):
    """Non-local means: mean of nearby pixels with similar patches; colours in Lab, as in OpenCV.

    Args:
        patch_size: side of a patch in pixels, odd.
        patch_distance: pixels up to that many rows and columns away are averaged.
        h: difference of patches that is taken for noise, in pixel units; a number or a fraction such as "4/255".

    Source: Buades, Coll and Morel, CVPR 2005; as a test for attacks, Xu, Evans and Qi, NDSS 2018, arXiv:1704.01155.

    Example:
        >>> dv.Transform({"changed": dv.NonLocalMeans(patch_size=3, patch_distance=2, h="10/255")})
        Transform(transforms={'changed': NonLocalMeans(patch_size=3, patch_distance=2, h='10/255')})
    """

    def __init__(self, patch_size: int, patch_distance: int, h: float | str) -> None:
        if checks.positive_int("patch_size", patch_size) % 2 == 0:
            raise ValueError(f"patch_size must be odd, got {patch_size}.")
        self.patch_size = patch_size
        self.patch_distance = checks.positive_int("patch_distance", patch_distance)
        self.h = checks.positive("h", h)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.non_local_means(image, self.patch_size, self.patch_distance, self.h)


class JpegCompression(PastableRepr):
    """JPEG compression at 8 bits per channel.

    Args:
        quality: 1 to 100.

    Source: Dziugaite, Ghahramani and Roy, 2016, arXiv:1608.00853.

    Example:
        >>> dv.Transform({"changed": dv.JpegCompression(50)})
        Transform(transforms={'changed': JpegCompression(quality=50)})
    """

    def __init__(self, quality: int) -> None:
        self.quality = checks.bounded("quality", quality, 1, 100)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.jpeg(image, self.quality)


class SignNoise(PastableRepr):
    """Random +eps or -eps noise per pixel, clipped to [0, 1].

    Args:
        eps: the amount, in pixel units; a number or a fraction such as "8/255".
        seed: of the tosses.
        draw: one of several draws of a seed; the tosses depend on (seed, sample, draw) alone.

    Source: answers to noise as a test for attacks, Roth, Kilcher and Hofmann, ICML 2019, arXiv:1902.04818.

    Example:
        >>> dv.Transform({"changed": dv.SignNoise(eps="8/255", seed=0)})
        Transform(transforms={'changed': SignNoise(eps='8/255', seed=0)})
    """

    def __init__(self, eps: float | str, seed: int, draw: int = 0) -> None:
        self.eps = checks.within("eps", checks.number("eps", eps), 0, 1)
        self.seed = checks.seed(seed)
        self.draw = checks.count("draw", draw)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        tosses = as_signs(uniform(tuple(image.shape[1:]), self.seed, context.batch.sample, self.draw))
        return (image + self.eps * tosses.to(image)).clamp(0, 1)


class Shift(PastableRepr):
    """Translation by whole pixels; edges repeated.

    Args:
        rows, columns: pixels down and to the right; negative: up and to the left.

    Source: as a test for attacks, Tian, Yang and Cai, AAAI 2018.

    Example:
        >>> dv.Transform({"changed": dv.Shift(rows=1, columns=0)})
        Transform(transforms={'changed': Shift(rows=1, columns=0)})
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = checks.bounded("rows", rows, -FARTHEST, FARTHEST)
        self.columns = checks.bounded("columns", columns, -FARTHEST, FARTHEST)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.shift(image, self.rows, self.columns)


class HorizontalFlip(PastableRepr):
    """Mirror image, left and right exchanged; of the same class for most photographs, and not for digits.

    Example:
        >>> dv.Transform({"changed": dv.HorizontalFlip()})
        Transform(transforms={'changed': HorizontalFlip()})
    """

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return image.flip(3)


class Rotation(PastableRepr):
    """Rotation around the centre, bilinear; edges repeated.

    Args:
        degrees: counter-clockwise, -180 to 180.

    Source: as a test for attacks, Tian, Yang and Cai, AAAI 2018.

    Example:
        >>> dv.Transform({"changed": dv.Rotation(8.0)})
        Transform(transforms={'changed': Rotation(degrees=8.0)})
    """

    def __init__(self, degrees: float) -> None:
        self.degrees = checks.within("degrees", degrees, -180, 180)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.rotate(image, self.degrees)


class RandomAffine(PastableRepr):
    """Rotation and shift, drawn for each image; bilinear, edges repeated.

    Args:
        degrees: at most, either way, 0 to 180.
        translate: shares of the height and of the width, at most, either way, 0 to 1.
        seed: of the draws.
        draw: one of several draws of a seed; a draw depends on (seed, sample, draw) alone.

    Source: random transforms as a defence, Raff et al., CVPR 2019; named as in torchvision.

    Example:
        >>> dv.Transform({"changed": dv.RandomAffine(degrees=10.0, translate=0.07, seed=0)})
        Transform(transforms={'changed': RandomAffine(degrees=10.0, translate=0.07, seed=0)})
    """

    def __init__(self, degrees: float, translate: float, seed: int, draw: int = 0) -> None:
        self.degrees = checks.within("degrees", degrees, 0, 180)
        self.translate = checks.within("translate", translate, 0, 1)
        self.seed = checks.seed(seed)
        self.draw = checks.count("draw", draw)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        turn, *shifts = (2 * uniform((3,), self.seed, context.batch.sample, self.draw) - 1).unbind(1)
        return filters.rotate_and_shift(image, self.degrees * turn, *(self.translate * shift for shift in shifts))


class Resampling(PastableRepr):
    """Downsampling and upsampling, bilinear with antialiasing.

    Args:
        factor: between the sides of the resized image and its own, such as 0.5.

    Source: Guo, Rana, Cisse and van der Maaten, ICLR 2018, arXiv:1711.00117, who crop and rescale.

    Example:
        >>> dv.Transform({"changed": dv.Resampling(0.5)})
        Transform(transforms={'changed': Resampling(factor=0.5)})
    """

    def __init__(self, factor: float) -> None:
        self.factor = checks.positive("factor", factor)

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        return filters.resample(image, self.factor)


class TransformSequence(PastableRepr):
    """Several transforms, one after the other.

    Args:
        steps: by any names, in their order.

    Example:
        >>> classifier, digits = dv.example()
        >>> transform = dv.TransformSequence({"blur": dv.GaussianFilter(0.8), "bits": dv.BitDepth(1)})
        >>> dv.effect_map(classifier, digits.image, dv.Transform({"changed": transform})).units
        ('changed',)
    """

    def __init__(self, steps: Mapping[str, ImageTransform]) -> None:
        self.steps = list(checks.nonempty("steps", steps).values())

    def __call__(self, image: Tensor, context: Context) -> Tensor:
        for step in self.steps:
            image = step(image, context)
        return image
