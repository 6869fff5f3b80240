"""Interventions: edits at a site of the network, each a finite family of units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.interfaces.classifier import Classifier
from dovision.interfaces.dataset import Images
from dovision.interfaces.pastable_repr import PastableRepr
from dovision.types import CODE, INPUT, Batch, Box, Layout, Mask, Shape


class Context(NamedTuple):
    """Condition in which an intervention is made: the batch, the classifier and source values."""

    batch: Batch  # its sample numbers are on the CPU
    classifier: Classifier
    source: Tensor | None = None  # the site's value for the images of `Intervention.sources`, as shaped as `value`
    reference: Tensor | None = None  # the mean of the site's value over `Intervention.references`, without axis 0
    canvas: tuple[Tensor, list[int]] | None = None  # `Intervention.canvas` of all rows, and their samples

    def rows(self, index: slice | Tensor | Sequence[int]) -> Context:
        """The chosen rows, as a Context."""
        source = None if self.source is None else self.source[index]
        return Context(self.batch.rows(index), self.classifier, source, self.reference)


class Intervention(PastableRepr, ABC):
    """do(u): an edit at one node of the classifier's computation graph, with a finite, named family of units.

    Example:
        >>> class Negative(dv.Intervention):
        ...     site = dv.INPUT
        ...     def units(self, shape):
        ...         return ("negative",)
        ...     def do(self, value, unit, context):
        ...         return 1 - value
        >>> classifier, digits = dv.example()
        >>> dv.effect_map(classifier, digits.image, Negative()).effect.shape
        torch.Size([8, 1, 10])
    """

    site: str  # INPUT, CODE, or the name of a layer of the network, whose output is edited
    unit: str | None = None  # channel, token, position or head of the site's value; None: the value as it comes
    layout: Layout | None = None  # of the site's value, if `unit` is given; None: found by probing the network
    shortens = False  # whether do() leaves out positions of the value: it returns fewer rows than it is given
    second: Intervention | None = None  # one of a single unit, made at a later site of the same pass (see `has_second`)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("do_channels", "canvas", "unchanged") if "do" in vars(cls) else ():
            if name not in vars(cls):  # a base does not speak for another do()
                setattr(cls, name, vars(Intervention)[name])

    @property
    def on_code(self) -> bool:
        """Return whether an inserted autoencoder's code is one of the sites."""
        return self.site == CODE or (self.second is not None and self.second.on_code)

    def network_of(self, classifier: Classifier) -> Classifier:
        """Network that has the sites: the classifier, or the same with its autoencoder.

        Raises:
            ValueError: a site is the code, and there is no autoencoder.
        """
        if not self.on_code:
            return classifier
        if not classifier.coded:
            raise ValueError(
                "an intervention on a code needs an autoencoder inserted into the classifier, got none. Choose one "
                "(autoencoder=...)."
            )
        return classifier.coded[0]

    def bind(self, images: Images, split: str) -> None:
        """Prepare for a split's images before the first edit; nothing by default.

        Raises:
            ValueError: the dataset does not know what the units need.
        """

    def for_images(self, batch: Batch) -> Intervention:
        """Intervention bound to images outside a dataset; itself unless its units depend on the images."""
        return self

    def sources(self, batch: Batch) -> Tensor | None:
        """Source images whose value at the site becomes `Context.source`, one per image; None: not needed."""
        return None

    def references(self) -> Tensor | None:
        """Images over which `Context.reference` averages the site's value; None: not needed."""
        return None

    @abstractmethod
    def units(self, shape: Shape) -> tuple[str, ...]:
        """Names of the units of a value of this shape, in the order of their numbers."""

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """Box that do(unit) can touch in this sample; None is the whole value, an empty box nothing."""
        return None

    def on_image(self, shape: Shape, unit: int, sample: int) -> Box | None:
        """Box of the unit in an image of shape (C, H, W); None for units without a position."""
        return self.region(shape, unit, sample) if self.site == INPUT else None

    def mask(self, shape: Shape, unit: int, sample: int) -> Mask | None:
        """Pixels of the region that do(unit) can touch, shape (h, w) of the region; None is all of them."""
        return None

    @abstractmethod
    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        """The region's new value, shape (B, C, h, w), from the site's whole value, shape (B, C, H, W).

        An intervention with a `unit` sees a value of any layout as `Layout.present` shows it, with its channels, or its
        heads, on axis 1.
        Pure: `value` is not changed, and random numbers come from `generator(seed, sample, ...)` only.
        All samples of the context have the same region for this unit.
        """

    def do_channels(self, value: Tensor, units: Sequence[int], context: Context) -> tuple[Tensor, Tensor] | None:
        """do() of many units that each set one channel, in one call, where that is possible; None by default.

        Args:
            value: of the site, shape (N, C, ...), a row for each unit.
            units: N numbers, one for each row.
            context: of the batch; its source values have the rows of `value`.

        Returns:
            The channel that each row sets, shape (N,) int64, and its new values, shape (N, ...).
        """
        return None

    def canvas(self, value: Tensor, context: Context) -> Tensor | None:
        """Value of which do(unit) is the crop to the unit's region, for all units, shape (B, C, H, W); None by default.

        Called once for the images of a batch, in place of do(). Where `shares` is not None, do() blends.
        """
        return None

    def shares(self, shape: Shape, unit: int, sample: int) -> npt.NDArray[Any] | None:
        """Share of the canvas, in [0, 1], in each pixel of the region, shape (h, w); None: all; by default `mask`."""
        return self.mask(shape, unit, sample)

    def unchanged(self, value: Tensor) -> Tensor | None:
        """Edits known to leave the site's value unchanged bit for bit, without making them; shape (B, U) bool.

        The value is as `do` sees it, shape (B, ...). None: none is known; all are made, and compared with the value.
        """
        return None

    def has_second(self, shape: Shape, unit: int) -> bool:
        """Return whether do(unit) is combined with that of `second`; never by default."""
        return False

    def apply(self, value: Tensor, unit: int, context: Context) -> Tensor:
        """The site's whole value after do(unit), shape (B, C, H, W), for samples of one region."""
        region = self.checked_box(self.region, tuple(value.shape[1:]), unit, int(context.batch.sample[0]))
        new = self.checked_do(value, unit, context, region)
        if region is None:
            return new
        treated = value.clone()
        region.crop(treated).copy_(new)
        return treated

    @final
    def checked_box(
        self, where: Callable[[Shape, int, int], Box | None], shape: Shape, unit: int, sample: int
    ) -> Box | None:
        """Check the result of `where`, `region` or `on_image`: None or a box inside the value, else a ValueError."""
        box = where(shape, unit, sample)
        if box is None:
            return None
        height, width = shape[-2:] if len(shape) > 1 else (0, 0)
        whole = isinstance(box, Box) and isinstance(sum(box), (int, np.integer))
        if not whole or not (0 <= box.top <= box.bottom <= height and 0 <= box.left <= box.right <= width):
            raise ValueError(
                f"{self._result(where, shape, unit)} must be None or a Box of whole numbers inside the {height} x "
                f"{width} value of site {self.site!r}, got {box!r}."
            )
        return box

    @final
    def checked_mask(self, shape: Shape, unit: int, sample: int, region: Box | None) -> Mask | None:
        """Check the result of `mask`: None, or a mask of the region's shape, else a ValueError."""
        mask = self.mask(shape, unit, sample)
        if mask is None:
            return None
        size = shape[-2:] if region is None else (region.height, region.width)
        return checks.mask(self._result(self.mask, shape, unit), mask, size)

    @final
    def checked_do(self, value: Tensor, unit: int, context: Context, region: Box | None) -> Tensor:
        """Check the result of `do`: like the region's value and, on a CPU, without nan, else a ValueError."""
        new = self.do(value, unit, context)
        shape = tuple(value.shape) if region is None else (*value.shape[:-2], region.height, region.width)
        if self.shortens and isinstance(new, Tensor):
            shape = (*shape[:2], *new.shape[2:3], *shape[3:])
        if isinstance(new, Tensor) and new.is_floating_point():
            new = new.to(value.dtype)
        like = shape, value.dtype, value.device
        got: tuple[object, ...] = (type(new).__name__,)
        if isinstance(new, Tensor):
            got = tuple(new.shape), new.dtype, new.device
        if got == like and value.device.type == "cpu" and new.detach().sum().isnan() and not value.isnan().any():
            got = ("nan",)
        if got != like:
            raise ValueError(
                f"{self._result(self.do, tuple(value.shape[1:]), unit)} must be its region's new value, shape "
                f"{', '.join(map(str, like))}, got {', '.join(map(str, got))}. "
                "Return it like the value that do() is given."
            )
        return new

    def _result(self, method: Callable[..., object], shape: Shape, unit: int) -> str:
        return f"{type(self).__name__}.{method.__name__}() of unit {self.units(shape)[unit]!r}"

    @final
    def on_pixels(self, shape: Shape, sample: int, values: Sequence[float]) -> npt.NDArray[np.float64]:
        """Map of one value a unit, painted where the unit can touch a sample, shape (H, W).

        The mean where units overlap, zero where there is none; a unit without a region is left out.

        Args:
            shape: (C, H, W) of the images.
            sample: the row in the split.
            values: one a unit.
        """
        regions = [self.checked_box(self.on_image, shape, unit, sample) for unit in range(len(values))]
        masks = [self.checked_mask(shape, unit, sample, region) for unit, region in enumerate(regions)]
        return geometry.paint(shape[1], shape[2], regions, values, masks)
