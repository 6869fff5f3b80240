"""The reader of datasets that a library opens: an image by its number, with labels, groups and names beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision.datasets import _checks, _splits
from dovision.datasets.readers.decoded_store import PreparedImages, stamp
from dovision.interfaces import Source


@dataclass(frozen=True)
class ChosenRows:
    """Some of a library's images, by their place among these."""

    read: Callable[[int], Tensor]
    numbers: list[int]

    def __call__(self, row: int) -> Tensor:
        return self.read(self.numbers[row])


class LibraryImages(PreparedImages):
    """Base of datasets that a library opens. A subclass sets `task` and `shape`, and calls `cut` and `identify`.

    Attributes:
        read: gives the image of a number, shape (C, H, W) float in [0, 1]; is pickled for reading processes.
        records: a row an image, with the columns number, name, which no other row has, and group (as text).
        labels: of each record, shape (N,) int64, or (N, K) float for multilabel.
        rows: of each split, the places of its records.
    """

    read: Callable[[int], Tensor]
    records: pd.DataFrame
    labels: Tensor
    rows: Mapping[str, Sequence[int]]

    def source(self, split: str) -> Source:
        own = list(self.rows[split])
        read = self.from_store(own) or ChosenRows(self.read, self.records["number"].iloc[own].tolist())
        group = pd.factorize(self.records["group"], sort=True)[0][own]
        return Source(read, self.labels[own], torch.from_numpy(group.astype(np.int64)))

    def source_table(self, split: str) -> pd.DataFrame:
        return self.records.iloc[list(self.rows[split])].drop(columns="number").reset_index(drop=True)

    def read_record(self, place: int) -> Tensor:
        """The image of a record, read by the library."""
        return self.read(int(self.records["number"].iloc[place]))

    def cut(self, given: Sequence[str] | None, cut: _splits.Cut) -> None:
        """Set the splits; arguments and errors as those of `_splits.split_rows`."""
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, needed=())

    def identify(
        self, described: Iterable[object], files: Sequence[Path], store: str | None, origin: Sequence[object]
    ) -> None:
        """Set the content, once all else is there: of what is described, of the records, and of the bytes of files.

        Args:
            described: settings that the images depend on.
            files: all that the library reads.
            store: the folder of decoded images; None: there is none.
            origin: of the images, as of `PreparedImages.use_store`.
        """
        described = list(described)
        files = sorted(files)
        roots = {Path(root).absolute() for root in origin if isinstance(root, (str, Path)) and Path(root).exists()}
        self.files = tuple(sorted({*(file.parent for file in files), *roots}))  # links in the roots count, too
        names = [file.name for file in files]
        own_files = repr([*described, *(f"{file.name} {stamp(file)}" for file in files)])
        self.use_store(store, lambda: [f"{name} {own_files}" for name in self.records["name"]], (*described, *origin))
        self.unread = self.files_read(files)
        if self.store is not None:
            self.files = (*self.files, self.store.folder)
        own = (
            *described,
            dict(self.facts),
            self.task.classes,
            self.shape,
            self.labels.tolist(),
            names,
            self.records.values.tolist(),
        )
        self.content = _checks.fingerprint((repr(each).encode() for each in own), self.rows)
        self.facts = {**self.facts, **_splits.split_facts(self.rows, self.labels, self.task.classes)}
