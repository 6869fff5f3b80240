"""Painting over the boxes of an image's objects, and over boxes of the same size elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import torch

from dovision import checks
from dovision.functional import geometry
from dovision.functional.rng import generator
from dovision.interfaces import Images
from dovision.interventions._objects import NO_REGION, ImageObject, bound, known_objects, object_names
from dovision.interventions.fills import Fill, Painting
from dovision.types import MATCHED_CONTROL, Box, Shape, object_kind

log = logging.getLogger(__name__)


class RegionBox(Painting):
    """do(box = fill) on the box of each known object, and on control boxes of equal size.

    For each object of the split there are the units NAME, "NAME control 0", "NAME control 1", ... A control has the
    object's height and width and lies at a uniformly random place inside the image: among those that overlap no known
    box, or, if there are none, no pixel of the object's own box. If there are none of these either, there is no
    control.

    Args:
        fill: what a box is painted with.
        controls: how many control boxes an object has.
        seed: of the controls' places; the same seed and sample give the same places.
        objects: the kinds of objects (their names without the number at the end) that are painted over; none is all.

    Example:
        >>> films = dv.component("dataset", "phantom", {"train_images": 4, "val_images": 4, "test_images": 4})
        >>> boxes = dv.RegionBox(dv.Mean(), controls=1, seed=0)
        >>> boxes.bind(films, "test")
        >>> len(boxes.units(films.shape)) > 0
        True
    """

    def __init__(self, fill: Fill, controls: int, seed: int, objects: str | Sequence[str] | None = None) -> None:
        self.fill = fill
        number = checks.positive_int("controls", controls, checks.MOST_CONTROLS)
        self.suffixes = ("", *(f"{MATCHED_CONTROL}{control}" for control in range(number)))
        self.seed = checks.seed(seed)
        self.objects = (objects,) if isinstance(objects, str) else tuple(objects or ())
        self._units: tuple[str, ...] = ()
        self._regions: dict[int, dict[str, Box]] = {}

    def bind(self, images: Images, split: str) -> None:
        """Find the boxes of a split's objects, and place their controls.

        Raises:
            ValueError: the dataset knows no boxes, or none of the chosen kind.
        """
        objects_by_sample = known_objects(images, split)
        chosen = self._chosen(object_names(objects_by_sample))
        self._units = tuple(f"{obj}{suffix}" for obj in chosen for suffix in self.suffixes)
        self._regions = {
            sample: dict(self._placed(sample, objects, chosen, images.shape))
            for sample, objects in objects_by_sample.items()
        }
        boxes = sum(obj in chosen for objects in objects_by_sample.values() for obj in objects)
        missing = boxes * len(self.suffixes) - sum(map(len, self._regions.values()))
        if missing:
            log.warning("%d control boxes are left out: beside their objects there is no room for them", missing)

    def units(self, shape: Shape) -> tuple[str, ...]:
        return bound(self._units)

    def region(self, shape: Shape, unit: int, sample: int) -> Box:
        return self._regions.get(sample, {}).get(self.units(shape)[unit], NO_REGION)

    def _chosen(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not self.objects:
            return names
        kinds = sorted(set(map(object_kind, names)))
        wanted = {checks.choice("objects", obj, kinds) for obj in self.objects}
        return tuple(obj for obj in names if object_kind(obj) in wanted)

    def _placed(
        self, sample: int, objects: Mapping[str, ImageObject], chosen: Sequence[str], shape: Shape
    ) -> Iterator[tuple[str, Box]]:
        """Units and regions of a sample; an object's number within the sample seeds its controls."""
        boxes = [obj.box for obj in objects.values()]
        for number, (name, obj) in enumerate(objects.items()):
            if name in chosen:
                controls = self._controls((sample, number), obj.box, boxes, shape)
                yield from zip((f"{name}{suffix}" for suffix in self.suffixes), (obj.box, *controls), strict=False)

    def _controls(self, keys: tuple[int, int], box: Box, boxes: Sequence[Box], shape: Shape) -> Iterator[Box]:
        size = box.height, box.width
        corners = geometry.places(*size, shape, boxes)
        if not len(corners):
            corners = geometry.places(*size, shape, [box])
        for control in range(len(self.suffixes) - 1 if len(corners) else 0):
            drawn = torch.randint(len(corners), (), generator=generator(self.seed, *keys, control))
            top, left = corners[int(drawn)].tolist()
            yield Box(top, left, top + box.height, left + box.width)
