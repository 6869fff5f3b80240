"""Samples of a job: which images of a dataset it measures, and which of these are a shard's."""

from __future__ import annotations

from collections.abc import Sequence

from dovision.config.settings import EvaluationSettings
from dovision.interfaces import Images
from dovision.types import SPLITS


def check_split(images: Images, split: str, needed_for: str, remedy: str) -> None:
    """Raise for a dataset with an empty split, such as one with test images only.

    Raises:
        ValueError: says what needs the split, and the remedy, a sentence.
    """
    if not len(images.order(split)):
        there = [name for name in SPLITS if len(images.order(name))]
        raise ValueError(
            f"{needed_for} needs {split} images, but this dataset has {' and '.join(there)} alone. {remedy}"
        )


def first_samples(images: Images, split: str, most: int | None, boxed: bool = False) -> list[int]:
    """The first samples of a split in its order, all if `most` is None; if `boxed`, those with a box of a class."""
    if boxed:
        boxes = images.boxes(split)
        samples = sorted(set(boxes["sample"][boxes["label"].notna()].tolist()))
    else:
        samples = list(range(len(images.order(split))))
    return samples[:most]


def evaluated_samples(settings: EvaluationSettings, images: Images) -> list[int]:
    """Samples of `evaluation.split` to evaluate: the first `evaluation.images`, or the first with a box.

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


def shard_samples(settings: EvaluationSettings, samples: Sequence[int]) -> Sequence[int]:
    """Samples of a shard: whole batches, the same as in one run; all samples without shards.

    Raises:
        ValueError: there are more shards than batches.
    """
    if settings.shards == 1:
        return samples
    batches = check_shards(settings, len(samples))
    if settings.shard is None:
        return samples
    first, end = (
        settings.batch_size * (batches * shard // settings.shards) for shard in (settings.shard, settings.shard + 1)
    )
    return samples[first:end]


def check_shards(settings: EvaluationSettings, images: int) -> int:
    """Return the number of batches for so many images; raise if there are fewer than shards.

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
