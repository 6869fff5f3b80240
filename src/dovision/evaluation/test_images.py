"""The test images that are evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from dovision.config.settings import EvaluationSettings
from dovision.interfaces import Images, Intervention
from dovision.interventions.mask_files import MaskFiles
from dovision.training.data_module import check_split
from dovision.types import INPUT


def first_samples(images: Images, split: str, most: int | None, boxed: bool = False) -> list[int]:
    """The first samples of a split in its order.

    Args:
        images: the dataset.
        split: train, val or test.
        most: how many; None: all.
        boxed: only those with a box that speaks for a class.
    """
    if boxed:
        boxes = images.boxes(split)
        samples = sorted(set(boxes["sample"][boxes["label"].notna()].tolist()))
    else:
        samples = list(range(len(images.order(split))))
    return samples[:most]


def test_samples(settings: EvaluationSettings, images: Images) -> list[int]:
    """The images of `evaluation.split` that are evaluated: the first `evaluation.images`, or the first with a box.

    Raises:
        ValueError: `evaluation.only_with_boxes` asks for boxes where none is known.
    """
    check_split(images, settings.split, "an evaluation", "Set evaluation.split.")
    samples = first_samples(images, settings.split, settings.images, settings.only_with_boxes)
    if not samples:
        raise ValueError(
            f"evaluation.only_with_boxes needs {settings.split} images with a box that speaks for a class, got none in "
            "this dataset. Choose another dataset, or evaluation.only_with_boxes=false."
        )
    return samples


def check_units(intervention: Intervention, images: Images, samples: Sequence[int]) -> None:
    """Refuse wrong files of masks, and images of which none has a unit of an intervention that lies in the images.

    Args:
        intervention: bound to the images.
        images: the dataset.
        samples: the images that are evaluated.
    """
    first = getattr(intervention, "first", intervention)
    if isinstance(first, MaskFiles):
        first.check_files(samples)
    if intervention.site != INPUT or type(intervention).bind is Intervention.bind:
        return
    units = range(len(intervention.units(images.shape)))
    checked, where = intervention.checked_box, intervention.region
    regions = (checked(where, images.shape, unit, sample) for sample in samples for unit in units)
    if all(region is not None and not region.area for region in regions):
        raise ValueError(
            f"an image must have a unit of the intervention, such as a mask or a box, but none of the {len(samples):,} "
            "that are evaluated has one. Evaluate more (evaluation.images), or those with boxes "
            "(evaluation.only_with_boxes=true)."
        )


def shard_samples(settings: EvaluationSettings, samples: Sequence[int]) -> Sequence[int]:
    """Those of the samples that a shard measures: whole batches, the same as in one run; all without shards.

    Raises:
        ValueError: there are more shards than batches.
    """
    if settings.shards == 1:
        return samples
    batches = check_shards(settings, len(samples))
    if settings.shard is None:
        return samples
    places = settings.shard, settings.shard + 1
    first, end = (settings.batch_size * (batches * each // settings.shards) for each in places)
    return samples[first:end]


def check_one_device(settings: EvaluationSettings, devices: int) -> None:
    """Raise ValueError if a shard is to be measured on several devices."""
    if settings.shards > 1 and devices > 1:
        raise ValueError(f"evaluation.shards needs one device a job, got {devices}. Set trainer.devices=1.")


def check_shards(settings: EvaluationSettings, images: int) -> int:
    """Return the number of batches of so many images.

    Raises:
        ValueError: there are more shards than batches.
    """
    size, shards = settings.batch_size, settings.shards
    batches = -(-images // size)
    if batches < shards:
        raise ValueError(
            f"evaluation.shards must be at most the number of batches, {batches} of {size} images, got {shards}. Set "
            "it, or evaluation.batch_size, to less."
        )
    return batches
