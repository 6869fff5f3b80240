"""Batches of somebody's test dataloader as batches of this package."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from dovision import checks
from dovision.datasets.as_images import image_and_label, images_of, label_tensor, names_of_labels
from dovision.interfaces import Classifier
from dovision.types import Batch

_GROUPS = 2**40  # numbers of groups that the images of a loader may have


class DeviceBatches:
    """Images of a test dataloader on this device, each once, in [0, 1] and with a sample number.

    The sampler of several devices repeats the first images at the end, so that all devices have as many; these are left
    out. The number of an image is its place in the dataset, or its place in the order that is not known before. An
    image without a group, -1, is of that of the first equal one, since copies say nothing new.

    Args:
        loader: of this device; gives batches of class `Batch`, or what `as_images.image_and_label` reads.
        rank, devices: which of how many devices this is.
        mean, std: by which images were normalised, as of `images_of`; those of class `Batch` were not.
        place: of the loader among those of a test; images of different loaders are of different groups.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        rank: int,
        devices: int,
        mean: Iterable[float] | None,
        std: Iterable[float] | None,
        number: int = 0,
    ) -> None:
        sampler: Any = loader.sampler
        self.mean, self.std = mean, std
        self._names_of_labels = names_of_labels(loader)
        self.images: int | None = len(sampler) if hasattr(sampler, "__len__") else None  # None: not known
        self.brought = 0
        self._rank, self._devices, self._first_group = rank, devices, number * _GROUPS
        if isinstance(sampler, DistributedSampler):
            self.images = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
            if len(sampler.dataset) < sampler.num_replicas:  # type: ignore[arg-type]
                got = f"{len(sampler.dataset)} for {sampler.num_replicas}"  # type: ignore[arg-type]
                raise ValueError(f"test images must be at least as many as devices, got {got}. Set devices to less.")
        if getattr(sampler, "replacement", False):
            raise ValueError(
                "test images must be drawn once each, got a sampler with replacement, whose copies intervals would "
                "count as images. Give a loader without it."
            )
        self._numbers = fixed_order(loader)
        self.contents: dict[bytes, int] = {}  # number of the first image of a content, where images have no group

    def images_of(self, got: Any, classifier: Classifier | None = None) -> Tensor:
        """Images of a batch, shape (B, C, H, W), in [0, 1]; errors as of `take`."""
        if isinstance(got, Batch):
            return checks.image_batch(got.image)
        return images_of(image_and_label(got), classifier, self.mean, self.std)

    def take(self, got: Any, classifier: Classifier) -> Batch:
        """Next batch of the loader, all but its images on the CPU; may be empty if all its images are repeated.

        Raises:
            ValueError: it is no such batch, or its labels are not those of the classifier's task.
        """
        image = self.images_of(got, classifier)
        batch = got if isinstance(got, Batch) else self._numbered(image, got, classifier)
        left = len(batch.image) if self.images is None else max(self.images - self.brought, 0)
        self.brought += len(batch.image)
        batch = Batch(batch.image, *(field.cpu() for field in batch[1:])).rows(slice(0, left))  # read again and again
        if (batch.group >= 0).all():
            return batch
        pixels = batch.image.detach().float().cpu().contiguous().numpy()
        contents = (blake2b(image, digest_size=8).digest() for image in pixels)
        numbers = [self.contents.setdefault(*pair) for pair in zip(contents, batch.sample.tolist(), strict=True)]
        return batch._replace(group=batch.group.where(batch.group >= 0, torch.tensor(numbers) + self._first_group))

    def _numbered(self, image: Tensor, got: Any, classifier: Classifier) -> Batch:
        label = label_tensor(image_and_label(got).label, len(image), classifier.task, self._names_of_labels)
        rows = range(self.brought, self.brought + len(image))
        numbers = [self._rank + self._devices * row for row in rows]
        if self._numbers is not None:
            numbers = [self._numbers[row] for row in rows]
        sample = torch.tensor(numbers)
        return Batch(image, label, sample, torch.full_like(sample, -1))


def fixed_order(loader: DataLoader[Any]) -> list[int] | None:
    """Numbers of the images of a loader whose order is the same each time; None of others."""
    in_order = type(loader.sampler) in (SequentialSampler, DistributedSampler)
    return list(loader.sampler) if in_order and type(loader.batch_sampler) is BatchSampler else None
