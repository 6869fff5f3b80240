"""The named objects of a split's images: what interventions on objects learn of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from dovision.interfaces import Images
from dovision.types import Box

_T = TypeVar("_T")
NO_REGION = Box(0, 0, 0, 0)  # the region of an object that an image does not have


class ImageObject(NamedTuple):
    """Region of an object, and whether it is evidence for a class."""

    box: Box
    labelled: bool


ObjectsBySample = Mapping[int, Mapping[str, ImageObject]]  # by sample, then by name; only samples with objects


def known_objects(images: Images, split: str) -> ObjectsBySample:
    """Objects of a split that lie at least partly inside their images; raises if there is none."""
    objects_by_sample: dict[int, dict[str, ImageObject]] = {}
    boxes = images.boxes(split)
    for sample, obj, labelled, *edges in zip(
        boxes["sample"], boxes["object"], boxes["label"].notna(), *(boxes[edge] for edge in Box._fields), strict=True
    ):
        box = Box(*map(int, edges))
        if box.area:
            objects_by_sample.setdefault(int(sample), {})[obj] = ImageObject(box, bool(labelled))
    if not objects_by_sample:
        raise ValueError(
            f"an intervention on objects needs a dataset that knows where they lie, got {type(images).__name__}, which "
            f"has no boxes in its {split} split. Choose another one, such as dataset=phantom."
        )
    return objects_by_sample


def object_names(objects_by_sample: ObjectsBySample) -> tuple[str, ...]:
    """Names of all objects, evidence for a class first, then alphabetical."""
    objects = [(name, obj.labelled) for of_sample in objects_by_sample.values() for name, obj in of_sample.items()]
    labelled = {name for name, labelled in objects if labelled}
    return tuple(sorted(dict(objects), key=lambda name: (name not in labelled, name)))


def bound(learned: _T | None) -> _T:
    """Return what `Intervention.bind` has stored; raise before it was called."""
    if not learned:
        raise ValueError("the intervention must be bound to a dataset, got none. Call bind(images, split) first.")
    return learned
