"""Generators seeded by (seed, sample)."""

from __future__ import annotations

import numpy as np
import torch


def generator(seed: int, *keys: int) -> torch.Generator:
    """A generator on the CPU that depends on (seed, sample, ...) alone: not on batch, worker or device."""
    state = np.random.SeedSequence(seed, spawn_key=keys).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
