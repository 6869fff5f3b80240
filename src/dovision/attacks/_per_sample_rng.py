"""Random numbers of an image, whatever the others of its batch."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision.functional.rng import generator
from dovision.types import Shape


def uniform(shape: Shape, seed: int, sample: Tensor, *keys: int) -> Tensor:
    """Numbers in [0, 1), shape (B, *shape), each image's from (seed, sample, *keys) alone."""
    random = (generator(seed, one, *keys) for one in sample.tolist())
    return torch.stack([torch.rand(shape, generator=each) for each in random])


def signs(shape: Shape, seed: int, sample: Tensor, *keys: int) -> Tensor:
    """Ones and minus ones, equally likely, drawn as in `uniform`."""
    return as_signs(uniform(shape, seed, sample, *keys))


def as_signs(uniform: Tensor) -> Tensor:
    """Numbers in [0, 1) as ones and minus ones."""
    return (uniform >= 0.5).to(uniform) * 2 - 1
