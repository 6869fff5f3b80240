"""Samples of a job: which images of a dataset it measures."""

from __future__ import annotations

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


def evaluated_samples(settings: EvaluationSettings, images: Images) -> list[int]:
    """Samples of `evaluation.split` to evaluate: the first `evaluation.images`, or a range, of all or those with a box.

    Raises:
        ValueError: `evaluation.only_with_boxes` asks for boxes where none is known; a range begins behind the images.
    """
    check_split(images, settings.split, "an evaluation", "Set evaluation.split.")
    samples, start = leading_samples(settings, images), settings.image_slice.start or 0
    if not samples:
        raise ValueError(
            f"evaluation.only_with_boxes needs {settings.split} images with a box that speaks for a class, got none in "
            "this dataset. Choose another dataset, or evaluation.only_with_boxes=false."
        )
    if start >= len(samples):
        raise ValueError(
            f"evaluation.images={settings.images} must begin below the number of images, {len(samples):,}. "
            "Choose a range of these."
        )
    return samples[start:]


def leading_samples(settings: EvaluationSettings, images: Images) -> list[int]:
    """Samples of a job, and before them those that its range leaves out: in the split's order, all or those with a box.

    Boxes that speak for no class do not count.
    """
    if settings.only_with_boxes:
        boxes = images.boxes(settings.split)
        samples = sorted(set(boxes["sample"][boxes["label"].notna()].tolist()))
    else:
        samples = list(range(len(images.order(settings.split))))
    return samples[: settings.image_slice.stop]
