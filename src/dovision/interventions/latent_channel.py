"""Setting the channels of a code, or of any layer."""

from __future__ import annotations

from torch import Tensor

from dovision.contracts import CODE, Context, Intervention, Shape
from dovision.interventions.channel_values import ChannelValue, Zero

ZERO = Zero()


class LatentChannel(Intervention):
    """do(channel c = value) in a code of shape (C, H, W) or (C,); one unit a channel.

    Args:
        site: CODE for an inserted autoencoder's code, or the name of a layer.
        value: what the channel is set to.
    """

    def __init__(self, site: str = CODE, value: ChannelValue = ZERO) -> None:
        self.site = site
        if not callable(value):
            raise ValueError(f"value must be a channel value such as Zero() or Mean(), got {value!r}.")
        self.value = value

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(f"c{channel}" for channel in range(shape[0]))

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        treated = value.clone()
        treated[:, unit] = self.value(value[:, unit], unit, context)
        return treated
