"""Images that a notebook measures, from whatever holds them: arrays, PIL images, files, datasets, dataloaders."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dovision import checks
from dovision.datasets.as_images import (
    Labelled,
    check_shapes,
    files_of,
    has_splits,
    image_and_label,
    images_of,
    is_grey,
    is_picture,
    is_read_later,
    label_tensor,
    names_of_labels,
    white_of,
)
from dovision.functional.sample_order import strata
from dovision.interfaces import Classifier, Images
from dovision.measurement.device_batches import DeviceBatches, fixed_order
from dovision.types import BOX_COLUMNS, SPLITS, Batch, Preprocessing, Shape, Task

_LOOK = 32  # images of a dataset that are looked at for their channels


class ImageData:
    """Images to measure, with labels, groups, names and boxes where known.

    Args:
        images: a tensor, shape (N, C, H, W), in [0, 1]; a NumPy array, channels first or last, of 8 bits or float; a
            PIL image; the path of a picture or of a folder of them (of which subfolders are classes); a list of any of
            these; a pair of images and labels; a mapping with `image` or `pixel_values` and perhaps `label` or
            `labels`; a list of such pairs or mappings; a Batch. A dataset of PyTorch or of Hugging Face, whose items
            are such images, pairs or mappings, or a DataLoader of batches of them; a mapping from splits to datasets,
            such as a DatasetDict, or a LightningDataModule. A dataset of dovision, such as
            component("dataset", "digits").
        labels: numbers or names of classes, or (N, K) zeros and ones for multilabel, where the images come without;
            None: unknown, and an attack or a target goes by what is predicted.
        split: train, val or test, or the name of a split that the data have.
        most: the first so many images; None: all.
        batch_size: images at a time; a DataLoader has its own.
        mean, std: by which the images were normalised, one number or one a channel, in pixel units; undone. None: they
            lie in [0, 1], but for `pixel_values`, which are as the classifier's own mean and std make them.
        size: height and width, or one number for both, that images are brought to; or a `preprocessing`. None: PIL
            images and files are brought to the `preprocessing` of the classifier that sees them, if it has one; tensors
            and arrays are taken as they are.

    Raises:
        ValueError: the images are none of these, or it is not clear how to read them; labels, most, mean, std or size
            are given to what has its own.

    Example:
        >>> import torch, dovision as dv
        >>> dv.ImageData(torch.rand(20, 1, 8, 8), torch.arange(20) % 10, most=5)
        ImageData(Tensor, images=5)
        >>> dv.ImageData(dv.component("dataset", "digits"), split="val", most=8)
        ImageData(Digits, images=8)
    """

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        split: str = "test",
        most: int | None = None,
        batch_size: int = 64,
        mean: Iterable[float] | None = None,
        std: Iterable[float] | None = None,
        size: int | tuple[int, int] | Preprocessing | None = None,
    ) -> None:
        self.split = split
        self.most = None if most is None else checks.positive_int("most", most, checks.MOST_IMAGES)
        self.batch_size = checks.positive_int("batch_size", batch_size)
        self.mean, self.std = (None if by is None else checks.pixel_units("mean and std", by) for by in (mean, std))
        self.size = size
        data = _of_split(images, split)
        self._name = type(data).__name__
        self.names_of_labels = names_of_labels(data)
        if isinstance(data, Images):
            checks.choice("split", split, SPLITS)
        barred = {"mean": mean, "std": std, "size": size} if isinstance(data, (Images, Batch)) else {}
        barred |= {"most": most, "size": size} if isinstance(data, DataLoader) else {}
        for name, value in barred.items():
            if value is not None:
                remedy = "has its batches. Give its dataset" if "most" in barred else "has its images ready"
                raise ValueError(f"{name} must be None for {self._name}, which {remedy}.")
        for name in ("sample", "group") if isinstance(data, Batch) else ():
            numbers = getattr(data, name)
            if getattr(numbers, "dtype", None) not in (torch.int64, np.int64) or len(numbers) != len(data.image):
                raise ValueError(f"{name} of a Batch must be int64, one number an image, got {numbers!r:.70}.")
            if 0 < int((numbers < 0).sum()) < len(numbers):
                raise ValueError(f"{name} of a Batch must be negative for all images or for none, got {numbers!r:.70}.")
        if is_read_later(data) or isinstance(data, Batch):
            if labels is not None:
                raise ValueError(f"labels must come with images alone; {self._name} has its own. Leave them out.")
            if isinstance(data, Dataset) and not hasattr(data, "__len__"):
                raise ValueError("images must have a length, got an iterable dataset. Give a DataLoader of it.")
            self.images = data
        else:
            self.images = self._held(data, labels)

    def _held(self, data: Any, labels: Any) -> Labelled:
        """Images in memory with their labels, read unless they are to be undone by the classifier's mean and std."""
        if isinstance(data, str) or hasattr(data, "__fspath__"):
            data = files_of(data)
        held = image_and_label(data) if labels is None else image_and_label(data)._replace(label=labels)
        if isinstance(held.label, Tensor):
            held = held._replace(label=held.label.cpu())
        normalised = held.processed and self.mean is None and self.std is None
        if normalised or (self.size is None and is_picture(held.image)):
            return held  # until `of` reads it as a classifier has it
        return Labelled(images_of(held, None, self.mean, self.std, self.size), held.label)

    def of(self, classifier: Classifier) -> ImageData:
        """These images as the classifier takes them, read once; errors as of the class, or if it is no Classifier."""
        checks.instance("classifier", classifier, Classifier, "a Classifier, as wrap(network, classes) makes one")
        held = self.images
        if not isinstance(held, Labelled) or (isinstance(held.image, Tensor) and not held.processed):
            return self
        ready = copy.copy(self)
        ready.images = Labelled(images_of(held, classifier, self.mean, self.std, self.size), held.label)
        return ready

    def __repr__(self) -> str:
        count = self._count()
        return f"ImageData({self._name}{'' if count is None else f', images={count}'})"

    def loader(self, classifier: Classifier) -> DataLoader[Any]:
        """Loader of batches, each a Batch or what a DataLoader of somebody's yields.

        Args:
            classifier: whose classes labels name.

        Raises:
            ValueError: the labels are not those of the classifier's task.
        """
        if isinstance(self.images, Images):
            from dovision.training.data_module import ImageDataModule  # with Lightning, which a few images do not need

            return ImageDataModule(self.images, test_batch_size=self.batch_size).first_dataloader(self.split, self.most)
        if isinstance(self.images, DataLoader):
            with suppress(TypeError, ValueError, LookupError, NotImplementedError):  # of a stream, or of other items
                _sampled_images(self.images.dataset, len(self.images.dataset))  # type: ignore[arg-type]
            return self.images
        batch = self.batch(classifier)
        if batch is not None and len({*batch.sample.tolist()}) < len(batch.sample):
            raise ValueError("sample of a Batch must be another number for each image, got one twice.")
        items: Any = [] if batch is None else [Batch(*fields) for fields in zip(*batch, strict=True)]
        return DataLoader(items or _Items(self, classifier), self.batch_size)

    def batch(self, classifier: Classifier) -> Batch | None:
        """All images in one Batch, if held in memory; arguments and errors as of `loader`."""
        held = self.of(classifier).images
        if isinstance(held, Batch):
            return held.rows(slice(0, self.most))
        if not isinstance(held, Labelled):
            return None
        image = held.image.detach()
        label = label_tensor(held.label, len(image), classifier.task)
        sample = torch.arange(len(image))
        return Batch(image, label, sample, torch.full_like(sample, -1)).rows(slice(0, self.most))

    def whole(self, classifier: Classifier) -> Batch:
        """All images in one Batch, read where they are not in memory; errors as of `loader`."""
        if (batch := self.batch(classifier)) is not None:
            return batch
        loader = self.loader(classifier)
        batches = DeviceBatches(loader, 0, 1, self.mean, self.std)
        return Batch(*map(torch.cat, zip(*(batches.take(got, classifier) for got in loader), strict=True)))

    def shape(self, classifier: Classifier) -> Shape | None:
        """Shape (C, H, W) of the first image; None if unknown before the first batch."""
        if isinstance(self.images, Images):
            return tuple(self.images.split(self.split)[0].image.shape)
        if (batch := self.batch(classifier)) is not None:
            return tuple(batch.image.shape[1:])
        data: Any = self.images
        try:
            first = data.dataset[0] if isinstance(data, DataLoader) else data[0]
        except (TypeError, IndexError, KeyError, NotImplementedError):
            return None
        return tuple(images_of(image_and_label(first), classifier, self.mean, self.std, self.size).shape[1:])

    def names(self) -> list[str] | None:
        """Name of each sample; None if it is the sample's number."""
        return self.images.table(self.split)["name"].tolist() if isinstance(self.images, Images) else None

    def classes_of_samples(self, classifier: Classifier) -> Mapping[int, int]:
        """Class to stratify each sample by, where known."""
        if isinstance(self.images, Images):
            return dict(enumerate(self.images.strata(self.split).tolist()))
        batch = self.batch(classifier)
        return {} if batch is None else dict(enumerate(strata(batch.label.cpu().numpy()).tolist()))

    def boxes(self) -> pd.DataFrame:
        """Boxes of known objects of the measured samples, as of `Images.boxes`."""
        if not isinstance(self.images, Images):
            return pd.DataFrame(columns=BOX_COLUMNS)
        boxes = self.images.boxes(self.split)
        return boxes if self.most is None else boxes[boxes["sample"] < self.most]

    def targets(self, target: Any, task: Task) -> str | dict[int, int]:
        """Name of the one class that is asked for, or, of a list or an array, the class of each sample by number.

        Raises:
            ValueError: as of `Task.targets`; or the number of images is not known.
        """
        target = target.tolist() if hasattr(target, "tolist") else target
        if not isinstance(target, (list, tuple)):
            return task.classes[task.number_of(target)]
        if (samples := self.samples()) is None:
            raise ValueError("target must be one class where the number or the order of images is not known.")
        return dict(zip(samples, task.targets(target, len(samples)).tolist(), strict=True))

    def samples(self) -> list[int] | None:
        """Numbers of the images; None where it is not known how many there are, or in which order they come."""
        if isinstance(self.images, Batch):
            return [int(sample) for sample in self.images.sample[: self.most]]
        if isinstance(self.images, DataLoader):
            return fixed_order(self.images)
        return None if (count := self._count()) is None else list(range(count))

    def _count(self) -> int | None:
        data: Any = self.images.dataset if isinstance(self.images, DataLoader) else self.images
        images = data.image if isinstance(data, (Batch, Labelled)) else data
        images = data.order(self.split) if isinstance(data, Images) else images
        with suppress(TypeError):  # of an iterable dataset
            return min(len(images), self.most or checks.MOST_IMAGES)
        return None


class _Items(Dataset[Batch]):
    """Items of somebody's dataset, each read as a Batch without the leading axis."""

    def __init__(self, data: ImageData, classifier: Classifier) -> None:
        self.data = data
        self.classifier = classifier
        images = _sampled_images(data.images, len(self))
        self.channels = 1 if all(map(is_grey, images)) else 3
        self.white = white_of(images)
        self.shape: Sequence[int] = ()  # of the first image that is read

    def __len__(self) -> int:
        return min(self.data.most or checks.MOST_IMAGES, len(self.data.images))

    def __getitem__(self, number: int) -> Batch:
        data, item = self.data, image_and_label(self.data.images[number])
        (image,) = images_of(item, self.classifier, data.mean, data.std, data.size, self.channels, self.white)
        self.shape = self.shape or image.shape
        check_shapes([self.shape, image.shape])
        (label,) = label_tensor(item.label, 1, self.classifier.task, self.data.names_of_labels)
        return Batch(image, label, torch.tensor(number), torch.tensor(-1))


def _sampled_images(data: Any, count: int) -> list[Any]:
    """Images of some items of a dataset, each read twice; a warning if that makes a difference."""
    readings = [[image_and_label(data[row]).image for row in range(0, count, -(-count // _LOOK))] for _ in range(2)]
    pairs = zip(*readings, strict=True)
    if not all(torch.equal(*pair) if isinstance(pair[0], Tensor) else np.array_equal(*pair) for pair in pairs):
        warnings.warn("items of the dataset differ between readings: leave out random transforms.", stacklevel=2)
    return readings[0]


def as_images(data: Any, classifier: Classifier, batch_size: int | None = None) -> ImageData:
    """Images as a classifier takes them, with the defaults of ImageData unless they are ImageData; errors as of it."""
    if batch_size is not None and isinstance(data, (ImageData, DataLoader)):
        raise ValueError(f"batch_size must be given once, got {batch_size!r} beside {type(data).__name__}.")
    held = data if isinstance(data, ImageData) else ImageData(data, batch_size=64 if batch_size is None else batch_size)
    return held.of(classifier)


def is_data_module(data: Any) -> bool:
    """Return whether data are a LightningDataModule, of either package of Lightning."""
    return hasattr(data, "prepare_data") and hasattr(data, "test_dataloader")


def _of_split(data: Any, split: str) -> Any:
    """The split of a mapping from splits, or of a LightningDataModule; other data as they are."""
    if is_data_module(data):
        checks.choice("split", split, SPLITS)
        data.prepare_data()
        data.setup({"train": "fit", "val": "validate"}.get(split, split))
        return getattr(data, f"{split}_dataloader")()
    if not has_splits(data):
        return data
    name = "validation" if split == "val" and "val" not in data else split
    return data[checks.choice("split", name, map(str, data))]
