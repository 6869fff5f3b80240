"""Reader of datasets that a library opens: an image by its number, with labels, groups and names beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dovision.datasets import _checks, _splits
from dovision.datasets.readers.decoded_store import PreparedImages, stamp


@dataclass(frozen=True)
class ChosenRows:
    """Rows of a library's images, by their position among these."""

    read: Callable[[int], Tensor]
    numbers: list[int]

    def __call__(self, row: int) -> Tensor:
        return self.read(self.numbers[row])


class LibraryImages(PreparedImages):
    """Base of datasets that a library opens, with the column number in `records`, and `read`, which is pickled.

    A subclass sets `task`, `shape`, `records`, `labels` and `read`, and calls `cut` and `identify`.
    """

    read: Callable[[int], Tensor]

    def reader(self, rows: Sequence[int]) -> Callable[[int], Tensor]:
        return ChosenRows(self.read, self.records["number"].iloc[list(rows)].tolist())

    def cut(self, given: Sequence[str] | None, cut: _splits.Cut) -> None:
        """Set the splits; arguments and errors as those of `_splits.split_rows`."""
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, needed=())

    def identify(
        self, described: Iterable[object], files: Sequence[Path], store: str | None, origin: Sequence[object]
    ) -> None:
        """Set the content, once all else is there: of the description, of the records, and of the bytes of files.

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
        key = repr([*described, *(f"{file.name} {stamp(file)}" for file in files)])
        self.use_store(store, lambda: [f"{name} {key}" for name in self.records["name"]], (*described, *origin))
        self.unread = self.files_read(files)
        if self.store is not None:
            self.files = (*self.files, self.store.folder)
        content = (
            *described,
            dict(self.recorded),
            self.task.classes,
            self.shape,
            self.labels.tolist(),
            [file.name for file in files],
            self.records.values.tolist(),
        )
        self.content = _checks.fingerprint((repr(value).encode() for value in content), self.rows)
        self.recorded = {**self.recorded, **_splits.split_facts(self.rows, self.labels, self.task.classes)}
