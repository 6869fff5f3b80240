"""Images of any kind as a dataset, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks
from dovision.datasets.as_images import Size, has_splits, items_of, label_tensor, names_of_labels, unit_images
from dovision.interfaces import Images, Source
from dovision.types import SPLITS, Task


class HeldImages(Images):
    """Dataset of images of any kind, read into memory, each a group of its own.

    Args:
        data: as `ImageData` takes them, with labels: tensors, arrays, PIL images, paths, datasets, loaders; or a
            mapping from train, val and test to these, such as a DatasetDict. Without splits all is test.
        classes: names of the classes; None: those that the data have, or the numbers of the labels.
        size: as of `ImageData`.

    Raises:
        ValueError: the images have no labels, or not one shape.

    Example:
        >>> import torch
        >>> pairs = torch.rand(6, 1, 8, 8), torch.arange(6) % 2
        >>> held = dv.HeldImages({"train": pairs, "test": pairs}, classes=["dark", "bright"])
        >>> held.shape, len(held.split("train")), held.task.classes
        ((1, 8, 8), 6, ('dark', 'bright'))
    """

    def __init__(self, data: Any, classes: Sequence[str] | None = None, size: Size = None) -> None:
        splits = dict(data) if has_splits(data) else {"test": data}
        if "validation" in splits:
            splits["val"] = splits.pop("validation")
        for split in splits:
            checks.choice("split", str(split), SPLITS)
        names = next(filter(None, map(list, map(names_of_labels, splits.values()))), [])
        items = {split: items_of(held) for split, held in splits.items()}
        self.task = _task([item.label for of_split in items.values() for item in of_split], classes, names)
        self._images: dict[str, Tensor] = {}
        self._labels: dict[str, Tensor] = {}
        for split, of_split in items.items():
            images = [unit_images(item.image, size=size) for item in of_split]
            labels = [
                label_tensor(item.label, len(image), self.task, names)
                for item, image in zip(of_split, images, strict=True)
            ]
            self._images[split], self._labels[split] = torch.cat(images), torch.cat(labels)
        self.shape = tuple(next(iter(self._images.values())).shape[1:])
        digests = [value.numpy().tobytes() for value in (*self._images.values(), *self._labels.values())]
        self.content = _checks.fingerprint((repr((self.task, self.shape, list(items))).encode(), *digests), {})

    def source(self, split: str) -> Source:
        image = self._images.get(split, torch.zeros(0, *self.shape))
        label = self._labels.get(split, self.task.unknown(0))
        first = sum(len(self._images[other]) for other in self._images if other < split)
        return Source(image.__getitem__, label, first + torch.arange(len(image)), image.__getitem__)

    def source_table(self, split: str) -> pd.DataFrame:
        names = [f"{split}-{row:07d}" for row in range(len(self._images.get(split, ())))]
        return pd.DataFrame({"name": names, "group": names})


def _task(labels: Sequence[Any], classes: Sequence[str] | None, names: Sequence[str]) -> Task:
    """Task of labels as items have them: of names, of numbers, or, for multilabel, floats of shape (..., K)."""
    arrays = [np.asarray(label) for label in labels if label is not None]
    if len(arrays) < len(labels):
        raise ValueError("data must be images with labels, such as (images, labels), got images alone.")
    multilabel = arrays[0].dtype.kind == "f"
    if classes is None and not names:
        flat = {value for array in arrays for value in array.ravel().tolist()}
        is_name = arrays[0].dtype.kind in "UO"
        count = arrays[0].shape[-1] if multilabel else 0 if is_name else int(max(flat)) + 1
        names = sorted(flat) if is_name else list(map(str, range(count)))
    return Task("multilabel" if multilabel else "multiclass", tuple(names if classes is None else classes))
