"""Images of any kind as a dataset, held in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, as_images
from dovision.interfaces import Images, Source
from dovision.types import SPLITS, Task


class HeldImages(Images):
    """Dataset of images of any kind, read into memory (4 bytes a pixel and channel), each a group of its own.

    Args:
        data: as `ImageData` takes them, with labels: tensors, arrays, PIL images, paths, datasets, loaders; or a
            mapping from train, val and test to these, such as a DatasetDict. Without splits all is test.
        classes: names of the classes; None: those that the data have, by which splits are matched, or the numbers of
            the labels.
        size: as of `ImageData`.

    Raises:
        ValueError: the images have no labels, or not one shape; splits have other classes; labels
            are names and numbers, and no classes are given.

    Example:
        >>> import torch
        >>> pairs = torch.rand(6, 1, 8, 8), torch.arange(6) % 2
        >>> held = dv.HeldImages({"train": pairs, "test": pairs}, classes=["dark", "bright"])
        >>> held.shape, len(held.split("train")), held.task.classes
        ((1, 8, 8), 6, ('dark', 'bright'))
    """

    def __init__(self, data: Any, classes: Sequence[str] | None = None, size: as_images.Size = None) -> None:
        splits = dict(data) if as_images.has_splits(data) else {"test": data}
        if "validation" in splits:
            splits["val"] = splits.pop("validation")
        for split in splits:
            checks.choice("split", str(split), SPLITS)
        names = {split: list(as_images.names_of_labels(held)) for split, held in splits.items()}
        items = {split: as_images.items_of(held) for split, held in splits.items()}
        labels = {split: [item.label for item in of_split] for split, of_split in items.items()}
        self.task = _task(labels, classes, max(names.values(), key=len, default=[]))
        whole = [item.image for of_split in items.values() for item in of_split]
        pictures = [*chain.from_iterable(image if isinstance(image, (list, tuple)) else [image] for image in whole)]
        channels = 1 if all(map(as_images.is_grey, pictures)) else 3
        white = as_images.white_of(pictures)
        self._images: dict[str, Tensor] = {}
        self._labels: dict[str, Tensor] = {}
        for split, of_split in items.items():
            images = [as_images.unit_images(item.image, size=size, channels=channels, white=white) for item in of_split]
            numbers = [
                as_images.label_tensor(label, len(image), self.task, names[split])
                for label, image in zip(labels[split], images, strict=True)
            ]
            self._images[split], self._labels[split] = torch.cat(images), torch.cat(numbers)
        as_images.check_shapes(image.shape[1:] for image in self._images.values())
        self.shape = next(tuple(image.shape[1:]) for image in self._images.values())
        digests = (value.numpy().tobytes() for value in (*self._images.values(), *self._labels.values()))
        self.content = _checks.fingerprint((repr((self.task, self.shape, list(items))).encode(), *digests), {})

    def source(self, split: str) -> Source:
        image = self._images.get(split, torch.zeros(0, *self.shape))
        label = self._labels.get(split, self.task.unknown(0))
        first = sum(len(self._images[other]) for other in self._images if other < split)
        return Source(image.__getitem__, label, first + torch.arange(len(image)), image.__getitem__)

    def source_table(self, split: str) -> pd.DataFrame:
        names = [f"{split}-{row:07d}" for row in range(len(self._images.get(split, ())))]
        return pd.DataFrame({"name": names, "group": names})


def _task(labels: Mapping[str, Sequence[Any]], classes: Sequence[str] | None, names: Sequence[str]) -> Task:
    """Task of labels as items have them: of names, of numbers, or, for multilabel, floats of shape (..., K)."""
    for split, of_split in labels.items():
        if any(label is None for label in of_split):
            raise ValueError(
                f"data must be images with labels, such as (images, labels), got {split} images alone. Leave them out, "
                "or give -1 for unknown labels."
            )
    arrays = [np.asarray(label) for label in chain.from_iterable(labels.values())]
    if not arrays:
        raise ValueError("data must be images with labels, got none.")
    multilabel = arrays[0].dtype.kind == "f"
    if classes is None and not names:
        is_name = arrays[0].dtype.kind in "UO"
        if any((array.dtype.kind in "UO") != is_name for array in arrays):
            raise ValueError("labels must be names, or numbers, got both. Name the classes: classes=[...].")
        flat = {value for array in arrays for value in array.ravel().tolist()}
        count = arrays[0].shape[-1] if multilabel else 0 if is_name else int(max(flat)) + 1
        names = sorted(flat) if is_name else list(map(str, range(count)))
    return Task("multilabel" if multilabel else "multiclass", tuple(names if classes is None else classes))
