"""Datasets: images in three splits, each in one order, with what is known of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from dovision import checks
from dovision.functional import sample_order
from dovision.io.files import sha256
from dovision.types import BOX_COLUMNS, COVER, SOURCE_BOXES, SPLITS, Batch, Mask, Resize, Shape, Task


class Source(NamedTuple):
    """Images of a split, row by row, in the dataset's own order."""

    image: Callable[[int], Tensor]  # of a row, shape (C, H, W) float in [0, 1]; is pickled for reading processes
    label: Tensor  # (N,) int64, or (N, K) float for multilabel
    group: Tensor  # (N,) int64, the patient, or a number of the row's own; the same one in no other split
    images: Callable[[Tensor], Tensor] | None = None  # of rows, shape (R,), where that is faster than one by one


class Split(Dataset[Batch]):
    """A split in its order; each item is a Batch without the leading axis.

    Args:
        source: the images.
        order: the row of each sample, shape (N,).
    """

    def __init__(self, source: Source, order: npt.NDArray[np.int64]) -> None:
        self.source = source
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, sample: int) -> Batch:
        if not 0 <= sample < len(self):
            raise IndexError(f"sample must be in [0, {len(self)}), got {sample}.")
        row = int(self.order[sample])
        return Batch(self.source.image(row), self.source.label[row], torch.tensor(sample), self.source.group[row])

    def batch(self, samples: Sequence[int]) -> Batch:
        """Several samples as a Batch, equal to their items stacked."""
        if self.source.images is None:
            return default_collate([self[sample] for sample in samples])
        rows = torch.from_numpy(self.order[samples])
        image = self.source.images(rows)
        return Batch(image, self.source.label[rows], torch.tensor(samples), self.source.group[rows])


class Images(ABC):
    """A dataset: its task, the shape of its images, and its splits train, val and test.

    A subclass says what its splits hold, row by row, in `source`, `source_table` and `source_boxes`; this class puts
    each split into its order (see `sample_order`), in which the first N samples stand for all of it.

    `content` is a hash of the data (not of where they lie); `bad_files` names the files left out; `recorded` is what
    else a run should record, in plain types. `unread` are files whose bytes are data as well, and were not read for
    `content`, since that takes long; they are read when the fingerprint is asked for. `files` are all files, and
    folders with what is below them, that the fingerprint depends on: as long as none has changed it is not computed
    again. None where they are not known.

    Example:
        >>> digits = dv.component("dataset", "digits")
        >>> digits.task.classes[:3], digits.table("test").columns.tolist()
        (('0', '1', '2'), ['sample', 'name', 'group'])
        >>> digits.split("test").batch([0, 1]).image.shape
        torch.Size([2, 1, 32, 32])
    """

    task: Task
    labelled: bool = True  # False: nothing can be fitted to the images, and their classes may be those of a classifier
    shape: Shape
    resize: Resize = COVER  # how files became images of this shape, and masks are to
    content: str
    unread: tuple[Path, ...] = ()
    files: tuple[Path, ...] | None = None
    suffixes: Collection[str] = ()  # of the files of images, by which the library that reads them is known
    bad_files: tuple[str, ...] = ()
    recorded: Mapping[str, object] = MappingProxyType({})
    mask_names: tuple[str, ...] = ()  # of all that `masks` gives

    @abstractmethod
    def source(self, split: str) -> Source:
        """The images of a split, with their labels and groups."""

    @abstractmethod
    def source_table(self, split: str) -> pd.DataFrame:
        """Metadata of each image of a split: at least `name`, unique in the split, and `group` (text)."""

    def source_boxes(self, split: str) -> pd.DataFrame:
        """Boxes as of `boxes`, with the column `row` in place of `sample`."""
        return pd.DataFrame(columns=SOURCE_BOXES)

    def source_masks(self, split: str, row: int) -> Mapping[str, Mask]:
        """Masks of a row, as of `masks`; none by default."""
        return {}

    def take_classes(self, task: Task) -> None:  # noqa: B027
        """Adopt the classes of the classifier where images have none; nothing by default."""

    @final
    @property
    def fingerprint(self) -> str:
        """Hash of the content, of the bytes of `unread`, and of the order of the splits."""
        return self.identified(lambda paths: [sha256(path) for path in paths])

    @final
    def identified(self, hashes: Callable[[Sequence[Path]], Sequence[str]]) -> str:
        """The fingerprint.

        Args:
            hashes: gives the SHA-256 of each of some files; asked for each file once in this object's life.
        """
        due = [path for path in self.unread if path not in self._hashes]
        self._hashes.update(zip(due, hashes(due), strict=True))
        read = "".join(self._hashes[path] for path in self.unread)
        resize = "" if self.resize == COVER else f", {self.resize}"
        return hashlib.sha256(f"{self.content}{resize}, order {sample_order.ORDER_VERSION}{read}".encode()).hexdigest()

    @final
    def order(self, split: str) -> npt.NDArray[np.int64]:
        """Row of each sample, shape (N,); depends on names, labels and groups, not on the order of rows."""
        if split not in self._orders:
            checks.choice("split", split, SPLITS)
            source = self.source(split)
            rows = self.source_table(split)["name"].argsort(kind="stable").to_numpy()
            order = sample_order.sample_order(source.label.numpy()[rows], source.group.numpy()[rows])
            self._orders[split] = rows[order]
        return self._orders[split]

    @final
    def split(self, name: str) -> Split:
        """The samples of a split in its order, as a map-style dataset."""
        order = self.order(name)
        return Split(self.source(name), order)

    @final
    def table(self, name: str) -> pd.DataFrame:
        """Metadata of each sample, in the split's order: at least `sample`, `name` and `group` (text)."""
        order = self.order(name)
        table = self.source_table(name).iloc[order].reset_index(drop=True)
        table.insert(0, "sample", range(len(table)))
        return table

    @final
    def boxes(self, name: str) -> pd.DataFrame:
        """Boxes of known objects, in pixels of the images, by sample; no rows where none are known.

        `sample`; `object`, a name that the sample has once; `label`, the class that the object speaks for, or None;
        `top`, `left`, `bottom`, `right`.
        """
        sample = np.argsort(self.order(name))
        boxes = self.source_boxes(name)
        if boxes.empty:
            return pd.DataFrame(columns=BOX_COLUMNS)
        boxes.insert(0, "sample", sample[boxes.pop("row").to_numpy(np.int64)])
        return boxes.sort_values("sample", kind="stable", ignore_index=True)

    @final
    def masks(self, split: str, sample: int) -> Mapping[str, Mask]:
        """Masks of an image's known objects, each of shape (H, W), by name; absent objects are left out.

        Raises:
            ValueError: a file of masks is damaged, or not of its image's aspect; a mask is of another type or shape.
        """
        masks = self.source_masks(split, int(self.order(split)[sample])) if self.mask_names else {}
        for name, mask in masks.items():
            checks.mask(f"{type(self).__name__}.source_masks(): {name!r}", mask, self.shape[1:])
        return masks

    @final
    def strata(self, split: str) -> npt.NDArray[np.int64]:
        """Class to stratify each sample by, shape (N,); see `sample_order.strata`."""
        order = self.order(split)
        return sample_order.strata(self.source(split).label.numpy())[order]

    @cached_property
    def _orders(self) -> dict[str, npt.NDArray[np.int64]]:
        return {}

    @cached_property
    def _hashes(self) -> dict[Path, str]:
        return {}


class Counterfactuals(Images):
    """Dataset that can render an image again without some of its objects, all else equal."""

    @abstractmethod
    def source_objects(self, split: str, row: int) -> tuple[str, ...]:
        """Objects of a row, as of `objects`."""

    @abstractmethod
    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        """Counterfactual image of a row, as of `counterfactual`."""

    def source_has_counterfactual(self, split: str, row: int, *objects: str) -> bool:
        """Return whether a row has a counterfactual, as of `has_counterfactual`; true by default."""
        return True

    @final
    def objects(self, split: str, sample: int) -> tuple[str, ...]:
        """Objects that can be left out of an image."""
        return self.source_objects(split, int(self.order(split)[sample]))

    @final
    def has_counterfactual(self, split: str, sample: int, *objects: str) -> bool:
        """Return whether there is an image without just these of its objects."""
        return self.source_has_counterfactual(split, int(self.order(split)[sample]), *objects)

    @final
    def counterfactual(self, split: str, sample: int, *objects: str) -> Tensor:
        """The image without these objects, shape (C, H, W).

        Raises:
            ValueError: the image has no such object, or there is no image without just these.
        """
        return self.source_counterfactual(split, int(self.order(split)[sample]), *objects)
