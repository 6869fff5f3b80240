"""The true counterfactuals of a dataset that can draw its images without their objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from dovision.interfaces import Context, Counterfactuals, Images, Intervention
from dovision.interventions._objects import NO_REGION, ImageObject, bound, known_objects, object_names
from dovision.types import INPUT, Batch, Box, Shape

_ALL_LABELLED = "all labelled"
_CACHE_BYTES = 2**28  # bytes of drawn images that are kept, since each condition asks for the same ones


class Absence(NamedTuple):
    """Objects to leave out, and the box outside which the image is unchanged."""

    region: Box
    objects: tuple[str, ...]


NONE = Absence(NO_REGION, ())


class Counterfactual(Intervention):
    """do(object = absent): the image rendered without an object, all else equal.

    One unit for each object of the split, and "all labelled" for all objects of an image that speak for a class
    together, if the dataset has the image without them. In an attacked condition the image changes by as much as the
    clean one would: x + (counterfactual - original), cut off at 0 and 1.

    Example:
        >>> films = dv.component("dataset", "phantom", {"train_images": 4, "val_images": 4, "test_images": 4})
        >>> without = dv.Counterfactual()
        >>> without.bind(films, "test")
        >>> without.units(films.shape)
        ('nodule0', 'nodule1', 'nodule2', 'opacity0', 'opacity1', 'rib', 'tag', 'all labelled')
    """

    site = INPUT

    def __init__(self) -> None:
        self._units: tuple[str, ...] = ()
        self._absences: dict[int, dict[str, Absence]] = {}
        self._drawn: Callable[..., Tensor]

    def bind(self, images: Images, split: str) -> None:
        """Find the objects of a split's images.

        Raises:
            ValueError: the dataset draws no counterfactuals, or knows no objects.
        """
        if not isinstance(images, Counterfactuals):
            raise ValueError(
                "intervention=counterfactual needs a dataset that can draw an image without one of its objects, "
                f"got {type(images).__name__}. Use dataset=phantom."
            )
        objects_by_sample = known_objects(images, split)
        drawn = partial(images.has_counterfactual, split)
        self._absences = {
            sample: {name: absence for name, absence in _absences(objects) if drawn(sample, *absence.objects)}
            for sample, objects in objects_by_sample.items()
        }
        everything = (_ALL_LABELLED,) if any(_ALL_LABELLED in absences for absences in self._absences.values()) else ()
        self._units = (*object_names(objects_by_sample), *everything)
        self._drawn = lru_cache(_CACHE_BYTES // (4 * math.prod(images.shape)))(partial(images.counterfactual, split))

    def units(self, shape: Shape) -> tuple[str, ...]:
        return bound(self._units)

    def region(self, shape: Shape, unit: int, sample: int) -> Box:
        return self._absence(unit, sample).region

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        samples = context.batch.sample.tolist()
        absences = [self._absence(unit, sample) for sample in samples]
        return torch.stack([self._without(*row) for row in zip(value, samples, absences, strict=True)])

    def images_without(self, batch: Batch, unit: int) -> Tensor:
        """Images without the unit's objects, shape (B, C, H, W); unchanged where there are none."""
        images = batch.image.clone()
        for image, sample in zip(images, batch.sample.tolist(), strict=True):
            absence = self._absence(unit, sample)
            absence.region.crop(image).copy_(self._without(image, sample, absence))
        return images

    def _absence(self, unit: int, sample: int) -> Absence:
        return self._absences.get(sample, {}).get(bound(self._units)[unit], NONE)

    def _without(self, image: Tensor, sample: int, absence: Absence) -> Tensor:
        """New value of the region, (C, h, w); exactly the counterfactual if the image is the original."""
        shown, original, treated = (
            absence.region.crop(image_of.to(image))
            for image_of in (image, self._drawn(sample), self._drawn(sample, *absence.objects))
        )
        return torch.where(shown == original, treated, (shown + (treated - original)).clamp(0, 1))


def _absences(objects: Mapping[str, ImageObject]) -> Iterator[tuple[str, Absence]]:
    """Objects that can be left out of an image, by unit name."""
    for name, obj in objects.items():
        yield name, Absence(obj.box, (name,))
    labelled = {name: obj.box for name, obj in objects.items() if obj.labelled}
    if labelled:
        tops, lefts, bottoms, rights = zip(*labelled.values(), strict=True)
        yield _ALL_LABELLED, Absence(Box(min(tops), min(lefts), max(bottoms), max(rights)), tuple(labelled))
