"""Datasets with a record per image: a table of records, their labels, the rows of each split, and a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision.datasets import _checks, _splits
from dovision.interfaces import Images, Source


class RecordImages(Images):
    """Base of datasets with a row per image. A subclass sets `shape` and these in `__init__`.

    Attributes:
        records: a row an image, with the columns name, which no other row has, group (as text), and what `reader` finds
            it by, path and number; all other columns are those of the table.
        labels: of each record, shape (N,) int64, or (N, K) float for multilabel.
        rows: of each split, the rows of its records.
    """

    records: pd.DataFrame
    labels: Tensor
    rows: Mapping[str, Sequence[int]]

    def source(self, split: str) -> Source:
        rows = list(self.rows[split])
        group = pd.factorize(self.records["group"], sort=True)[0][rows]
        return Source(self.reader(rows), self.labels[rows], torch.from_numpy(group.astype(np.int64)))

    def source_table(self, split: str) -> pd.DataFrame:
        records = self.records.iloc[list(self.rows[split])]
        return records.drop(columns=["path", "number"], errors="ignore").reset_index(drop=True)

    def reader(self, rows: Sequence[int]) -> Callable[[int], Tensor]:
        """Images of some records, by their position among these; each is read from its file on request."""
        raise NotImplementedError


@dataclass(frozen=True)
class ChosenRows:
    """Images, each read on request from what it is found by."""

    read: Callable[[Any], Tensor]
    items: list[Any]

    def __call__(self, row: int) -> Tensor:
        return self.read(self.items[row])


class LibraryImages(RecordImages):
    """Base of datasets that a library opens, with the column number in `records`, and `read`, which is pickled.

    A subclass sets `task`, `shape`, `records`, `labels` and `read`, and calls `cut` and `identify`.
    """

    read: Callable[[int], Tensor]

    def reader(self, rows: Sequence[int]) -> Callable[[int], Tensor]:
        return ChosenRows(self.read, self.records["number"].iloc[list(rows)].tolist())

    def source(self, split: str) -> Source:
        """The images of a split; the group of a row by itself is its number."""
        own = self.records["group"].equals(self.records["name"])
        numbers = torch.from_numpy(self.records["number"].to_numpy(np.int64)[list(self.rows[split])])
        return super().source(split)._replace(group=numbers) if own else super().source(split)

    def cut(self, given: Sequence[str] | None, cut: _splits.Cut) -> None:
        """Set the splits; arguments and errors as those of `_splits.split_rows`."""
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, needed=())

    def identify(self, described: Iterable[object], files: Sequence[Path], roots: Iterable[Path]) -> None:
        """Set the content, once all else is there: of the description, of the records, and of the bytes of files.

        Args:
            described: settings that the images depend on.
            files: all that the library reads.
            roots: files and folders that were named; links in them count, too.
        """
        self.unread = tuple(sorted(files))
        named = {root.absolute() for root in roots if root.exists()}
        self.files = tuple(sorted({*(file.parent for file in self.unread), *named}))
        content = (
            *described,
            dict(self.recorded),
            self.task.classes,
            self.shape,
            self.labels.tolist(),
            [file.name for file in self.unread],
            self.records.values.tolist(),
        )
        self.content = _checks.fingerprint((repr(value).encode() for value in content), self.rows)
        self.recorded = {**self.recorded, **_splits.split_facts(self.rows, self.labels, self.task.classes)}
