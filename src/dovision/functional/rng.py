"""Generators seeded by (seed, sample)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from dovision.types import Shape


def generator(seed: int, *keys: int) -> torch.Generator:
    """CPU generator seeded by (seed, sample, ...) alone, independent of batch, worker and device."""
    state = np.random.SeedSequence(seed, spawn_key=keys).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


@contextmanager
def seeded(device: torch.device, seed: int, *keys: int) -> Iterator[None]:
    """Seed the global generators of torch and numpy by (seed, sample, ...) in the block, and restore them afterwards.

    For libraries that take no generator. `device` is that of the draws.
    """
    state = np.random.get_state()  # noqa: NPY002  # the one that libraries draw from
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator(seed, *keys).initial_seed())
        np.random.seed(generator(seed, *keys).initial_seed() % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def uniform(shape: Shape, seed: int, sample: Tensor, *keys: int) -> Tensor:
    """Uniform numbers in [0, 1), shape (B, *shape), seeded per image by (seed, sample, *keys); sample (B,)."""
    generators = (generator(seed, number, *keys) for number in sample.tolist())
    return torch.stack([torch.rand(shape, generator=random) for random in generators])


def as_signs(uniform: Tensor) -> Tensor:
    """Map numbers in [0, 1) to -1 or 1, equally likely."""
    return (uniform >= 0.5).to(uniform) * 2 - 1
