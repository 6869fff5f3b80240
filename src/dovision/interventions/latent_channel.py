"""Setting the channels of a code, or of any layer, to zero, to their mean, or to their own values in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Context, Intervention
from dovision.types import CODE, Shape


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


ZERO = Zero()


class LatentChannel(Intervention):
    """do(channel c = value) in a code of shape (C, H, W) or (C,); one unit a channel.

    Args:
        site: CODE for an inserted autoencoder's code, or the name of a layer with channels on axis 1.
        value: what the channel is set to.
        channels: which channels, counted from 0; None is all.
    """

    unit = "channel"

    def __init__(self, site: str = CODE, value: ChannelValue = ZERO, channels: Sequence[int] | None = None) -> None:
        self.site = checks.instance("site", site, str, "the name of a layer, or CODE")
        self.value = checks.function("value", value, "a channel value such as Zero() or Mean()")
        self.channels = None if channels is None else checks.channels("channels", channels)

    def units(self, shape: Shape) -> tuple[str, ...]:
        chosen = range(shape[0]) if self.channels is None else self.channels
        return tuple(f"c{checks.channel('channels', channel, shape[0])}" for channel in chosen)

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        channel = unit if self.channels is None else self.channels[unit]
        treated = value.clone()
        treated[:, channel] = self.value(value[:, channel], channel, context)
        return treated


def positions(channel: Tensor) -> Tensor:
    """The values of each sample, shape (B, P); of a single one, mean and order would say nothing new."""
    values = channel.flatten(1) if channel.ndim > 1 else channel.unsqueeze(1)
    if values.shape[1] < 2:
        raise ValueError(
            "a channel's mean and resampling need a code with several positions, shape (C, H, W), "
            "got one value per channel. Set the channel to zero instead."
        )
    return values
