"""Values that a unit of an activation is set to: zero, a mean, noise, a direction."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Context, Images, PastableRepr
from dovision.io import files
from dovision.types import SPLITS, Batch, Box

CHANNEL_AXIS, POSITION_AXIS = 1, 2  # of a site's value, shape (B, A, P, D)


class SiteUnit(NamedTuple):
    """A unit of a site's value as values see it, shape (B, A, P, D).

    A counts channels or heads, P positions or tokens; D is the channels of a head, and 1 where there are no heads. A
    channel and a head are numbers of axis 1, a token and a position those of axis 2; axis None is the whole value.
    """

    axis: int | None
    number: int = 0

    def of(self, value: Tensor) -> Tensor:
        """The unit's part of a value, with all four axes; a view."""
        return value if self.axis is None else value.narrow(self.axis, self.number, 1)


class ChannelOfRow(NamedTuple):
    """A channel, or a head, of each row of a value, in place of one SiteUnit of all rows."""

    number: Tensor  # (N,) int64
    axis: int = CHANNEL_AXIS

    def of(self, value: Tensor) -> Tensor:
        """The channels of N rows, or of one value for all rows, with all four axes; a copy."""
        rows = torch.arange(len(self.number), device=value.device) * (len(value) > 1)
        return value[rows, self.number].unsqueeze(1)


class ActivationValue(PastableRepr, ABC):
    """Content that a unit is set to; what it needs to know besides the site's value is asked for as of Intervention."""

    of_rows = False  # whether a call takes a ChannelOfRow, too: it draws nothing and does not read the batch

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__call__" in vars(cls):  # other than that of its base, for which the base does not speak
            cls.of_rows = vars(cls).get("of_rows", False)

    def bind(self, images: Images, split: str) -> None:
        """Learn what is needed of a split's images, before the first edit; nothing by default."""

    def sources(self, batch: Batch) -> Tensor | None:
        """As `Intervention.sources`."""
        return None

    def references(self) -> Tensor | None:
        """As `Intervention.references`."""
        return None

    def image_region(self, image: tuple[int, ...], sample: int) -> Box | None:
        """Box that can change of an image, shape (C, H, W), which is a whole unit; None is everything."""
        return None

    @abstractmethod
    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        """New content of the unit, as shaped as `unit.of(value)` or expandable to it.

        Pure. `context.source` is of the shape of `value`, (B, A, P, D), `context.reference` of (1, A, P, D).
        """


class Zero(ActivationValue):
    """The unit is silent.

    Example:
        >>> dv.Activation("relu", value=dv.Zero())
        Activation(site='relu', value=Zero())
    """

    of_rows = True

    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        return torch.zeros_like(unit.of(value))


class SampleMean(ActivationValue):
    """The mean over all positions of the sample, channel by channel: every position of the unit is the same.

    Example:
        >>> dv.Activation("relu", value=dv.SampleMean())
        Activation(site='relu', value=SampleMean())
    """

    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        if unit.axis is None:
            raise ValueError("a mean over positions needs a unit, such as unit=channel, got the whole value.")
        if value.shape[2] < 2:
            raise ValueError(
                "a mean over positions needs a site with several positions, such as a map of shape (C, H, W), got one "
                "value per channel. Set the unit to zero instead."
            )
        content = unit.of(value)
        return (content if unit.axis == CHANNEL_AXIS else value).mean(2, keepdim=True).expand_as(content)


class GaussianNoise(ActivationValue):
    """The unit's own value and, added to it, normal noise of the standard deviation that the unit has in the sample.

    Args:
        scale: standard deviations of the noise, in those of the unit.
        seed: of the draws; the same seed, sample and unit give the same noise.

    Example:
        >>> dv.Activation("relu", value=dv.GaussianNoise(scale=0.1, seed=0))
        Activation(site='relu', value=GaussianNoise(scale=0.1, seed=0))
    """

    def __init__(self, scale: float, seed: int) -> None:
        self.scale = checks.positive("scale", scale)
        self.seed = checks.seed(seed)

    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        content = unit.of(value)
        if content[0].numel() < 2:
            raise ValueError(
                "noise of the unit's own standard deviation needs a unit of several numbers, got one number per unit. "
                "Set the unit to zero instead."
            )
        generators = [generator(self.seed, sample, unit.number) for sample in context.batch.sample.tolist()]
        noise = torch.stack([torch.randn(content.shape[1:], generator=random) for random in generators]).to(content)
        return content + self.scale * content.std((1, 2, 3), correction=0, keepdim=True) * noise


class Steering(ActivationValue):
    """The unit's own value and, added to it, its part of a direction, such as that of a concept.

    Args:
        direction: one number for each channel of the site, those of all heads one head after the other: numbers, or
            an .npy file of float32.
        strength: factor of the direction, with its sign.

    Raises:
        ValueError: there are other numbers than channels.

    Example:
        >>> classifier, digits = dv.example()
        >>> along = dv.Steering([1.0] + [0.0] * 15, strength=0.5)
        >>> dv.effect_map(classifier, digits.image, dv.Activation("relu", unit=None, value=along)).effect.shape
        torch.Size([8, 1, 10])
    """

    of_rows = True

    def __init__(self, direction: Tensor | Sequence[float] | str, strength: float) -> None:
        self.strength = checks.number("strength", strength)
        self.direction = _direction(direction)

    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        channels, size = value.shape[1], value.shape[3]
        if len(self.direction) != channels * size:
            raise ValueError(
                f"direction must have one number for each of the site's {channels * size} channels, "
                f"got {len(self.direction)}."
            )
        direction = self.direction.to(value).reshape(1, channels, 1, size).expand(1, -1, value.shape[2], -1)
        return unit.of(value) + self.strength * unit.of(direction)


class ReferenceMean(ActivationValue):
    """The unit's mean over reference images, position by position.

    Args:
        count: reference images, the first ones of a split, at most all of it.
        split: train, val or test.
        images: the reference images themselves, shape (N, C, H, W) in [0, 1], in place of a dataset's.

    Example:
        >>> classifier, digits = dv.example()
        >>> mean = dv.ReferenceMean(images=digits.image)
        >>> dv.effect_map(classifier, digits.image, dv.Activation("relu", value=mean)).effect.shape
        torch.Size([8, 16, 10])
    """

    of_rows = True

    def __init__(self, count: int = 64, split: str = SPLITS[0], images: Tensor | None = None) -> None:
        self.count = checks.positive_int("count", count)
        self.split = checks.choice("split", split, SPLITS)
        self.images = None if images is None else checks.image_batch(images, "images")

    def bind(self, images: Images, split: str) -> None:
        reference_split = images.split(self.split)
        self.images = torch.stack(
            [reference_split[sample].image for sample in range(min(self.count, len(reference_split)))]
        )

    def references(self) -> Tensor:
        if self.images is None:
            raise ValueError(
                "a reference mean must have reference images, got none. Call bind(images, split), or give it images=..."
            )
        return self.images

    def __call__(self, value: Tensor, unit: SiteUnit, context: Context) -> Tensor:
        if context.reference is None:
            raise ValueError("a reference mean needs the site's mean value over reference images, got none.")
        return unit.of(context.reference).expand_as(unit.of(value))


def _direction(direction: Tensor | Sequence[float] | str) -> Tensor:
    """The numbers of a direction, shape (C,) float32.

    Raises:
        ValueError: they are no finite numbers, at least one of them not 0.
    """
    try:
        if isinstance(direction, str):  # mapped, so that a header that claims too much allocates nothing
            mapped = np.load(files.require_regular_file(direction), mmap_mode="r", allow_pickle=False)
            numbers = torch.from_numpy(np.array(mapped, np.float32)).flatten()
        else:
            numbers = torch.as_tensor(direction, dtype=torch.float32).flatten()
    except FileNotFoundError:
        raise
    except Exception:  # a damaged header raises whatever its bytes lead to
        numbers = torch.tensor([math.nan])
    if not numbers.isfinite().all() or not numbers.any() or isinstance(direction, bool):
        raise ValueError(
            "direction must be finite numbers, one for each channel of the site and not all 0, or an .npy file of "
            f"them, got {direction!r:.80}."
        )
    return numbers
