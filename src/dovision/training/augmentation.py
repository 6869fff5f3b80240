"""Augmentation of training images by torchvision.transforms.v2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import Image

from dovision import checks
from dovision.functional.rng import generator

ROUNDING = 1e-3  # pixel units; by which interpolation may leave the range


class NoAugmentation:
    """Identity augmentation."""

    def __call__(self, *items: Tensor) -> Any:
        return items[0] if len(items) == 1 else items


class Augmentation:
    """Random transforms of an image, seeded by (seed, epoch, sample).

    Neither the number of reading processes nor a resumed fit changes what is drawn.

    Args:
        transform: of torchvision.transforms.v2, or anything else that takes and returns tv_tensors and draws from
            torch's global generator.
        seed: of the draws.
    """

    def __init__(self, transform: Callable[..., Any], seed: int) -> None:
        self.transform = checks.function("augmentation", transform, "a transform of torchvision.transforms.v2")
        self.seed = seed

    def __call__(self, image: Tensor, epoch: int, sample: int) -> Tensor:
        """Transform an image, shape (C, H, W), in [0, 1].

        Args:
            image: the image.
            epoch: counted from 0.
            sample: number of the image in its split.

        Raises:
            ValueError: the transformed image has another shape or type, or leaves [0, 1].
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(generator(self.seed, epoch, sample).initial_seed())
            return _checked(self.transform(Image(image)), image)


def _checked(transformed: Tensor, image: Tensor) -> Tensor:
    """Convert the transformed image to a plain tensor, clipped to [0, 1] against rounding."""
    if not isinstance(transformed, Tensor) or (transformed.shape, transformed.dtype) != (image.shape, image.dtype):
        got = f"{transformed.dtype} of {tuple(transformed.shape)}" if isinstance(transformed, Tensor) else "no tensor"
        raise ValueError(
            f"augmentation must keep the image's type and shape, {image.dtype} of {tuple(image.shape)}, got {got}."
        )
    low, high = (bound.item() for bound in torch.aminmax(transformed))
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # written so that nan fails too
        raise ValueError(
            f"augmentation must keep images in [0, 1], got [{low:.2f}, {high:.2f}]. Interpolate bilinearly, clip "
            "noise, and normalise inside the classifier (mean, std)."
        )
    return transformed.as_subclass(Tensor) if low >= 0 and high <= 1 else transformed.as_subclass(Tensor).clamp(0, 1)
