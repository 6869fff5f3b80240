"""Setting the channels of a code, or of any layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dovision import checks
from dovision.interfaces import Context, Intervention
from dovision.interventions.channel_values import ChannelValue, Zero
from dovision.types import CODE, Shape

ZERO = Zero()


class LatentChannel(Intervention):
    """do(channel c = value) in a code of shape (C, H, W) or (C,); one unit a channel.

    Args:
        site: CODE for an inserted autoencoder's code, or the name of a layer with channels on axis 1.
        value: what the channel is set to.
        channels: which channels, counted from 0; None is all.
    """

    edits_channels = True

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
