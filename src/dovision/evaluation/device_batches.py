"""Batches of somebody's test dataloader as batches of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from dovision import checks
from dovision.types import Batch

_ROUNDING = 1e-4  # pixel units by which an image may leave [0, 1] once its normalisation is undone
_GROUPS = 2**40  # numbers of groups that the images of a loader may have


class DeviceBatches:
    """Images of a test dataloader on this device, each once, in [0, 1] and with a sample number.

    The sampler of several devices repeats the first images at the end, so that all devices have as many; these are left
    out. The number of an image is its place in the dataset, or its place in the order that is not known before.

    Args:
        loader: of this device; gives batches of class `Batch`, or of images, labels, and whatever else.
        rank, devices: which of how many devices this is.
        mean, std: by which images were normalised, one number or one a channel, in pixel units; those of batches of
            class `Batch` were not.
        place: of the loader among those of a test; images of different loaders are of different groups.
    """

    def __init__(
        self,
        loader: DataLoader[Any],
        rank: int,
        devices: int,
        mean: Sequence[float],
        std: Sequence[float],
        number: int = 0,
    ) -> None:
        sampler: Any = loader.sampler
        self.mean, self.std = (torch.tensor(checks.pixel_units("mean and std", channels)) for channels in (mean, std))
        self.images: int | None = len(sampler) if hasattr(sampler, "__len__") else None  # None: not known
        self.brought = 0
        self._rank, self._devices, self._first_group = rank, devices, number * _GROUPS
        if isinstance(sampler, DistributedSampler):
            self.images = len(range(sampler.rank, len(sampler.dataset), sampler.num_replicas))  # type: ignore[arg-type]
            if len(sampler.dataset) < sampler.num_replicas:  # type: ignore[arg-type]
                got = f"{len(sampler.dataset)} for {sampler.num_replicas}"  # type: ignore[arg-type]
                raise ValueError(f"test images must be at least as many as devices, got {got}. Set devices to less.")
        in_order = type(sampler) in (SequentialSampler, DistributedSampler)  # whose order is the same each time
        self._numbers = list(sampler) if in_order and type(loader.batch_sampler) is BatchSampler else None

    def take(self, got: Any) -> Batch:
        """Next batch of the loader; may be empty if all its images are repeated.

        Raises:
            ValueError: it is no such batch.
        """
        batch = got if isinstance(got, Batch) else self._numbered(got)
        left = len(batch.image) if self.images is None else max(self.images - self.brought, 0)
        self.brought += len(batch.image)
        return batch.rows(slice(0, left))

    def _numbered(self, got: Any) -> Batch:
        if not isinstance(got, (tuple, list)) or len(got) < 2:
            raise ValueError(f"a test batch must be a Batch, or images and labels, got {type(got).__name__}.")
        image, label = got[:2]
        rows = range(self.brought, self.brought + len(image))
        numbers = [self._rank + self._devices * row for row in rows]
        if self._numbers is not None:
            numbers = [self._numbers[row] for row in rows]
        sample = torch.tensor(numbers)
        mean, std = (channels.to(image).view(-1, 1, 1) for channels in (self.mean, self.std))
        raw = image * std + mean
        unit = raw.clamp(0, 1)
        return Batch(unit if (raw - unit).abs().max() <= _ROUNDING else raw, label, sample, sample + self._first_group)
