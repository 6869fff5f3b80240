"""A dataset under Lightning: the loaders of a fit, of a validation, and of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, RandomSampler, Subset, default_collate

from dovision import checks
from dovision.datasets.held_images import HeldImages
from dovision.identity.samples import check_split
from dovision.interfaces import Images, Split
from dovision.training.augmentation import Augmentation, NoAugmentation
from dovision.types import Batch

VALIDATION_BATCH = 64  # images; more are slower on a processor, whose caches do not hold their feature maps


def check_fit(images: Images) -> None:
    """Raise for a dataset without training images; see `check_split`."""
    check_split(images, "train", "a fit", "Choose pretrained weights with training=none, or checkpoint=FILE.")


class ImageDataModule(pl.LightningDataModule):
    """LightningDataModule over the splits of a dataset; batches are of class `Batch`.

    Training images come in a new order each epoch, drawn by a generator that is part of the module's state, so that a
    resumed fit goes on with the order that it would have had. Each device tests whole batches, the same as one device
    alone would. Neither order nor batches depend on `num_workers`.

    Args:
        images: a dataset of dovision; or images of any kind, as of `HeldImages`.
        train_batch_size, val_batch_size, test_batch_size: images a batch.
        test_samples: numbers of the test images, in the order in which they are tested; None: all.
        test_split: the split that is tested.
        num_workers: processes that read images.
        seed: of the order of training images, and of their augmentation.
        augmentation: a transform of torchvision.transforms.v2, of training images only; None: as they are.

    Example:
        >>> import torch
        >>> pairs = torch.rand(6, 1, 8, 8), ["cat", "dog"] * 3
        >>> data = dv.ImageDataModule({"train": pairs, "test": pairs})
        >>> next(iter(data.train_dataloader())).image.shape
        torch.Size([6, 1, 8, 8])
    """

    def __init__(
        self,
        images: Any,
        *,
        train_batch_size: int = 16,
        val_batch_size: int = VALIDATION_BATCH,
        test_batch_size: int = 64,
        test_samples: Sequence[int] | None = None,
        test_split: str = "test",
        num_workers: int = 0,
        seed: int = 0,
        augmentation: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        self.images: Images = images if isinstance(images, Images) else HeldImages(images)
        self.task = self.images.task
        self.shape = self.images.shape
        self.train_batch_size = checks.positive_int("train_batch_size", train_batch_size)
        self.val_batch_size = checks.positive_int("val_batch_size", val_batch_size)
        self.test_batch_size = checks.positive_int("test_batch_size", test_batch_size)
        self.test_samples = test_samples
        self.test_split = test_split
        self.num_workers = checks.count("num_workers", num_workers)
        if isinstance(augmentation, NoAugmentation):  # which would cost a pass over each image
            augmentation = None
        self.augmentation = None if augmentation is None else Augmentation(augmentation, seed)
        self.shuffling = torch.Generator().manual_seed(checks.seed(seed))
        self.epoch = 0  # the next one of the training images

    def train_dataloader(self) -> DataLoader[Batch]:
        """All training images, in an order drawn for each epoch."""
        split = _Augmented(self.images.split("train"), self.augmentation)
        order = _Shuffled(split, self, *self._devices_and_rank())
        return self._fit_loader(split, self.train_batch_size, sampler=order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation images, in their order."""
        return self._fit_loader(_Augmented(self.images.split("val"), None), self.val_batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """This device's share of the test images, in order; batches are those of a single device.

        Raises:
            ValueError: there are fewer batches than devices.
        """
        split, size = self.images.split(self.test_split), self.test_batch_size
        samples = range(len(split)) if self.test_samples is None else self.test_samples
        batches, (devices, rank) = -(-len(samples) // size), self._devices_and_rank()
        if batches < devices:
            raise ValueError(
                f"trainer.devices must be at most the number of batches, {batches} of {size} images, got {devices}. "
                "Set it, or evaluation.batch_size, to less."
            )
        first, end = (size * (batches * number // devices) for number in (rank, rank + 1))
        share: Dataset[Batch] = Subset(split, samples[first:end])
        # Lightning does not cut again what has such a sampler
        whole: Any = DistributedSampler(share, num_replicas=1, rank=0, shuffle=False)
        return self._loader(share, size, sampler=whole)

    def detection_dataloaders(self, val_images: int | None, test_images: int | None) -> list[DataLoader[Batch]]:
        """First images of val and of test, up to given numbers (None: all), in batches of `test_batch_size`."""
        check_split(self.images, "val", "detection", "Choose another dataset, or leave the detector out.")
        return [self.first_dataloader("val", val_images), self.first_dataloader("test", test_images)]

    def first_dataloader(self, split: str, most: int | None) -> DataLoader[Batch]:
        """First images of a split, up to a number (None: all), in batches of `test_batch_size`."""
        chosen = self.images.split(split)
        return self._loader(Subset(chosen, range(len(chosen))[:most]), self.test_batch_size)

    def batched_dataloader(self, split: str, batches: Iterable[list[int]]) -> DataLoader[Batch]:
        """Batches of a split, each given by its sample numbers."""
        return DataLoader(self.images.split(split), batch_sampler=batches)

    def state_dict(self) -> dict[str, Any]:
        return {"shuffling": self.shuffling.get_state(), "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.shuffling.set_state(state_dict["shuffling"].cpu())
        self.epoch = state_dict["epoch"]

    def _devices_and_rank(self) -> tuple[int, int]:
        """Number of devices, and this one's rank."""
        return (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)

    def _fit_loader(self, split: _Augmented, batch_size: int, **options: Any) -> DataLoader[Batch]:
        """Loader with a generator of its own, since a fit draws from the global one."""
        workers = {"persistent_workers": self.num_workers > 0, "generator": torch.Generator().manual_seed(0)}
        return self._loader(split, batch_size, collate_fn=_collated, **workers, **options)

    def _loader(self, dataset: Dataset[Batch], batch_size: int, **options: Any) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),  # so that copies to the device overlap with its work
            **options,
        )


class _Augmented(Dataset[Batch]):
    """Augmented split; sample numbers continue through epochs: sample + epoch * length."""

    def __init__(self, split: Split, augmentation: Augmentation | None) -> None:
        self.split = split
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, number: int) -> Batch:
        epoch, sample = divmod(number, len(self.split))
        item = self.split[sample]
        return item if self.augmentation is None else item._replace(image=self.augmentation(item.image, epoch, sample))

    def __getitems__(self, numbers: list[int]) -> Batch:
        """Whole batch, fetched at once by the loader."""
        if self.augmentation is None:
            return self.split.batch([number % len(self.split) for number in numbers])
        return default_collate([self[number] for number in numbers])


def _collated(batch: Batch) -> Batch:
    """Pass on a batch of `_Augmented`; a module-level function, so that workers can unpickle it."""
    return batch


class _Shuffled(DistributedSampler[Any]):
    """A device's share of an epoch's samples, in an order common to all devices."""

    def __init__(self, split: _Augmented, data: ImageDataModule, devices: int, rank: int) -> None:
        super().__init__(split, devices, rank)
        self.count = len(split)
        self.data = data

    def __iter__(self) -> Iterator[int]:
        shuffling = self.data.shuffling
        torch.empty((), dtype=torch.int64).random_(generator=shuffling)  # as a loader without workers draws
        first = self.data.epoch * self.count
        self.data.epoch += 1  # not by set_epoch, which comes after the first images of a resumed fit are read
        order = [first + sample for sample in RandomSampler(range(self.count), generator=shuffling)]
        order += order[: self.total_size - self.count]
        return iter(order[self.rank :: self.num_replicas])
