"""Generators seeded by (seed, sample)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from dovision.types import Shape


def generator(seed: int, *keys: int) -> torch.Generator:
    """A generator on the CPU that depends on (seed, sample, ...) alone: not on batch, worker or device."""
    state = np.random.SeedSequence(seed, spawn_key=keys).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


@contextmanager
def seeded(device: torch.device, seed: int, *keys: int) -> Iterator[None]:
    """Torch's own generators depend on (seed, sample, ...) alone for a block; after it they are as they were.

    For libraries that take no generator. `device` is that of the draws.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, *keys).initial_seed())
        yield


def uniform(shape: Shape, seed: int, sample: Tensor, *keys: int) -> Tensor:
    """Numbers in [0, 1), shape (B, *shape), each image's from (seed, sample, *keys) alone; sample of shape (B,)."""
    generators = (generator(seed, number, *keys) for number in sample.tolist())
    return torch.stack([torch.rand(shape, generator=random) for random in generators])


def as_signs(uniform: Tensor) -> Tensor:
    """Numbers in [0, 1) as ones and minus ones, equally likely."""
    return (uniform >= 0.5).to(uniform) * 2 - 1
