"""Images that a notebook measures: tensors, datasets and dataloaders of PyTorch, and datasets of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from dovision import checks
from dovision.api import checked_logits
from dovision.functional.sample_order import strata
from dovision.interfaces import Classifier, Images
from dovision.training.data_module import ImageDataModule
from dovision.types import BOX_COLUMNS, SPLITS, Batch, Shape

_LEGAL = "a tensor, a pair of images and labels, a Batch, a dataset or dataloader of PyTorch, or a dataset of dovision"


class ImageData:
    """Images to measure, with labels, groups, names and boxes where known.

    Args:
        images: a tensor, shape (N, C, H, W), in [0, 1]; a pair of such a tensor and its labels; a Batch; a map-style
            dataset of PyTorch whose items are pairs of an image and its label; a DataLoader of batches of them; or a
            dataset of dovision, such as component("dataset", "digits").
        labels: of a tensor, shape (N,) int64, or (N, K) zeros and ones for multilabel; None: what is predicted.
        split: of a dataset of dovision: train, val or test.
        most: the first so many images; None: all.
        batch_size: images at a time; a DataLoader has its own.

    Raises:
        ValueError: the images are none of these; labels, split or most are given to what has its own.

    Example:
        >>> import torch, dovision as dv
        >>> dv.ImageData(torch.rand(20, 1, 8, 8), torch.arange(20) % 10, most=5)
        ImageData(tensor, images=5)
        >>> dv.ImageData(dv.component("dataset", "digits"), split="val", most=8)
        ImageData(Digits, images=8)
    """

    def __init__(
        self,
        images: Any,
        labels: Tensor | None = None,
        split: str = "test",
        most: int | None = None,
        batch_size: int = 64,
    ) -> None:
        if isinstance(images, (tuple, list)) and not isinstance(images, Batch) and len(images) == 2 and labels is None:
            images, labels = images
        self.split = checks.choice("split", split, SPLITS)
        self.most = None if most is None else checks.positive_int("most", most, checks.MOST_IMAGES)
        self.batch_size = checks.positive_int("batch_size", batch_size)
        if isinstance(images, Tensor) or type(images).__module__.startswith("PIL."):
            checks.image_batch(images, "images")
        elif not isinstance(images, (Batch, DataLoader, Dataset, Images)):
            raise ValueError(f"images must be {_LEGAL}, got an object of class {type(images).__name__}.")
        elif labels is not None:
            name = type(images).__name__
            raise ValueError(f"labels must come with a tensor of images; {name} has its own. Leave them out.")
        if most is not None and isinstance(images, DataLoader):
            raise ValueError("most must be None for a DataLoader, whose batches come as they are. Give its dataset.")
        if isinstance(images, Dataset) and not hasattr(images, "__len__"):
            raise ValueError("images must have a length, got an iterable dataset. Give a DataLoader of it.")
        self.images = images
        self.labels = labels

    def __repr__(self) -> str:
        name = "tensor" if isinstance(self.images, Tensor) else type(self.images).__name__
        try:
            count = len(self.images.order(self.split)) if isinstance(self.images, Images) else self._count()
        except TypeError:
            return f"ImageData({name})"
        return f"ImageData({name}, images={count if self.most is None else min(count, self.most)})"

    def loader(self, classifier: Classifier, first_group: int = 0) -> DataLoader[Any]:
        """Loader of batches, each a Batch or a pair of images and labels.

        Args:
            classifier: predicts the labels of a tensor that has none.
            first_group: the group of the first image of a tensor, of which each is a group of its own.

        Raises:
            ValueError: the labels are not those of the classifier's task, or it takes no such images.
        """
        if isinstance(self.images, Images):
            return ImageDataModule(self.images, test_batch_size=self.batch_size).first_dataloader(self.split, self.most)
        if isinstance(self.images, DataLoader):
            return self.images
        dataset: Any = self.images
        if isinstance(self.images, (Tensor, Batch)):
            dataset = [Batch(*fields) for fields in zip(*self.batch(classifier, first_group) or (), strict=True)]
        elif self.most is not None:
            dataset = Subset(dataset, range(min(self.most, len(dataset))))
        return DataLoader(dataset, self.batch_size)

    def batch(self, classifier: Classifier, first_group: int = 0) -> Batch | None:
        """All images in one Batch, if held in memory; arguments and errors as of `loader`."""
        if isinstance(self.images, Batch):
            return self.images.rows(slice(0, self.most))
        if not isinstance(self.images, Tensor):
            return None
        image = self.images[: self.most].detach()
        logits = checked_logits(classifier, image.to(classifier.mean.device))
        task, sample = classifier.task, torch.arange(len(image))
        group = sample + first_group
        if self.labels is None:
            label = task.prediction(task.probability(logits)).cpu()
            return Batch(image, label.float() if task.multilabel else label, sample, group)
        checks.labels(self.labels, len(self.images), len(task.classes), task.multilabel, "labels")
        return Batch(image, self.labels[: self.most], sample, group)

    @property
    def shape(self) -> Shape | None:
        """Shape (C, H, W) of the first image; None if unknown before the first batch."""
        if isinstance(self.images, Images):
            return tuple(self.images.split(self.split)[0].image.shape)
        if isinstance(self.images, (Tensor, Batch)):
            return tuple((self.images if isinstance(self.images, Tensor) else self.images.image).shape[1:])
        dataset: Any = self.images.dataset if isinstance(self.images, DataLoader) else self.images
        try:
            image = dataset[0][0]
        except (TypeError, IndexError, KeyError, NotImplementedError):
            return None
        return tuple(image.shape) if isinstance(image, Tensor) else None

    def names(self) -> list[str] | None:
        """Name of each sample; None if it is the sample's number."""
        return self.images.table(self.split)["name"].tolist() if isinstance(self.images, Images) else None

    def classes_of_samples(self) -> Mapping[int, int]:
        """Class to stratify each sample by, where known."""
        if isinstance(self.images, Images):
            return dict(enumerate(self.images.strata(self.split).tolist()))
        label = self.images.label if isinstance(self.images, Batch) else self.labels
        return {} if label is None else dict(enumerate(strata(label.cpu().numpy()).tolist()))

    def boxes(self) -> pd.DataFrame:
        """Boxes of known objects of the measured samples, as of `Images.boxes`."""
        if not isinstance(self.images, Images):
            return pd.DataFrame(columns=BOX_COLUMNS)
        boxes = self.images.boxes(self.split)
        return boxes if self.most is None else boxes[boxes["sample"] < self.most]

    def _count(self) -> int:
        if isinstance(self.images, DataLoader):
            return len(self.images.dataset)  # type: ignore[arg-type]  # of an iterable dataset a TypeError
        return len(self.images.image) if isinstance(self.images, Batch) else len(self.images)


def as_image_data(data: Any) -> ImageData:
    """Convert images to ImageData with its defaults, unless they are ImageData; errors as of the class."""
    return data if isinstance(data, ImageData) else ImageData(data)
