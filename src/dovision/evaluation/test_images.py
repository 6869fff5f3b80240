"""The test images that are evaluated, and their loader."""

from __future__ import annotations

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Subset

from dovision.config.settings import EvaluateSettings, EvaluationSettings
from dovision.interfaces import Images
from dovision.types import Batch


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


def test_loader(
    settings: EvaluateSettings, images: Images, samples: Sequence[int], trainer: pl.Trainer
) -> DataLoader[Batch]:
    """This device's share of these test images, in their order: whole batches, the same as on one device.

    Raises:
        ValueError: there are fewer batches than devices.
    """
    size, devices = settings.evaluation.batch_size, trainer.world_size
    batches = -(-len(samples) // size)
    if batches < devices:
        raise ValueError(
            f"trainer.devices must be at most the number of batches, {batches} of {size} images, got {devices}. "
            "Set it, or evaluation.batch_size, to less."
        )
    first, end = (size * (batches * rank // devices) for rank in (trainer.global_rank, trainer.global_rank + 1))
    share: Dataset[Batch] = Subset(images.split("test"), samples[first:end])
    return DataLoader(
        share,
        batch_size=size,
        num_workers=settings.num_workers,
        pin_memory=torch.cuda.is_available(),  # so that copies to the device overlap with its work
    )
