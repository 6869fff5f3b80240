"""The test images that are evaluated."""

from __future__ import annotations

from dovision.config.settings import EvaluationSettings
from dovision.interfaces import Images


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
    """The test images that are evaluated: the first `evaluation.images`, or the first of which a box is known.

    Raises:
        ValueError: `evaluation.only_with_boxes` asks for boxes where none is known.
    """
    samples = first_samples(images, "test", settings.images, settings.only_with_boxes)
    if not samples:
        raise ValueError(
            "evaluation.only_with_boxes needs test images with a box that speaks for a class, got none in this "
            "dataset. Choose another dataset, or evaluation.only_with_boxes=false."
        )
    return samples
