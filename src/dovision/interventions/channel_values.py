"""Values that a channel of a code can be set to."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Context


class ChannelValue(Protocol):
    """From channel `unit` of the code, shape (B, ...), to its new content, of that shape."""

    def __call__(self, channel: Tensor, unit: int, context: Context) -> Tensor: ...


class Zero:
    """The channel is silent."""

    def __call__(self, channel: Tensor, unit: int, context: Context) -> Tensor:
        return torch.zeros_like(channel)


class ChannelMean:
    """The channel says the same at every position of the sample: its own mean."""

    def __call__(self, channel: Tensor, unit: int, context: Context) -> Tensor:
        mean = positions(channel).mean(1)
        return mean.reshape(-1, *[1] * (channel.ndim - 1)).expand_as(channel)


class Resample:
    """The channel's own values of the sample, at positions drawn without replacement.

    Args:
        seed: of the draws; the same seed, sample and unit give the same order.
    """

    def __init__(self, seed: int) -> None:
        self.seed = checks.count("seed", seed)

    def __call__(self, channel: Tensor, unit: int, context: Context) -> Tensor:
        values = positions(channel)
        random = [generator(self.seed, sample, unit) for sample in context.batch.sample.tolist()]
        order = torch.stack([torch.randperm(values.shape[1], generator=one) for one in random])
        return values.gather(1, order.to(values.device)).reshape(channel.shape)


def positions(channel: Tensor) -> Tensor:
    """The values of each sample, shape (B, P); of a single one, mean and order would say nothing new."""
    values = channel.flatten(1) if channel.ndim > 1 else channel.unsqueeze(1)
    if values.shape[1] < 2:
        raise ValueError(
            "a channel's mean and resampling need a code with several positions, shape (C, H, W), "
            "got one value per channel. Set the channel to zero instead."
        )
    return values
