"""The reader of datasets of files: images, boxes and masks of a table, whatever the table was made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers import boxes as box_tables
from dovision.datasets.readers.decoded_store import PreparedImages, stamp
from dovision.datasets.readers.mask_sources import ErrorText, MaskSource, check_masks, check_volumes, error_by_name
from dovision.functional import geometry
from dovision.interfaces import Source
from dovision.io.archives import file_of
from dovision.types import SOURCE_BOXES, Mask, Shape

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReadFiles:
    """Images, each read from its file when it is asked for."""

    paths: list[str]
    numbers: list[int | None]  # of slices or frames
    shape: Shape
    decoding: _image_io.Decoding

    def __call__(self, row: int) -> Tensor:
        return _image_io.image_from_file(Path(self.paths[row]), self.shape, self.decoding, self.numbers[row])


class FileImages(PreparedImages):
    """Base of datasets of files. A subclass sets `task`, `shape` and `content`, and these:

    Attributes:
        records: a row an image, with the columns name, path, number (of a slice, or None), group (as text), height and
            width of the file's image in pixels; all other columns are facts of the table.
        labels: of each record, shape (N,) int64, or (N, K) float for multilabel.
        rows: of each split, the places of its records.
        known_boxes: as `boxes.file_boxes` gives them, `row` being the place of a record.
        mask_sources: files of masks.
        decoding: how files are read.
    """

    records: pd.DataFrame
    labels: Tensor
    rows: Mapping[str, Sequence[int]]
    known_boxes: pd.DataFrame = pd.DataFrame(columns=box_tables.BOX_FIELDS)
    mask_sources: Sequence[MaskSource] = ()
    decoding = _image_io.Decoding()
    threads: int | None = None

    def source(self, split: str) -> Source:
        own = list(self.rows[split])
        read = self.from_store(own) or self._files(own)
        group = pd.factorize(self.records["group"], sort=True)[0][own]
        return Source(read, self.labels[own], torch.from_numpy(group.astype(np.int64)))

    def source_table(self, split: str) -> pd.DataFrame:
        """Besides `name`, the path below the root: `height` and `width` of the file's image, in pixels, and facts."""
        found = self.records.iloc[list(self.rows[split])]
        return found.drop(columns=["path", "number"]).reset_index(drop=True)

    def source_boxes(self, split: str) -> pd.DataFrame:
        place = {row: number for number, row in enumerate(self.rows[split])}
        found = self.known_boxes[self.known_boxes["row"].isin(place)]
        sizes = [*self.records[["height", "width"]].itertuples(index=False, name=None)]
        fitted = box_tables.fitted_boxes(found, sizes, self.shape)
        return fitted.assign(row=fitted["row"].map(place)) if len(fitted) else pd.DataFrame(columns=SOURCE_BOXES)

    def source_masks(self, split: str, row: int) -> Mapping[str, Mask]:
        record = self.rows[split][row]
        size = tuple(self.records[["height", "width"]].iloc[record])
        found: dict[str, Mask] = {}
        for source in self.mask_sources:
            if path := source.paths[record]:
                fitted = {name: self._fitted(mask, size, path) for name, mask in source.read(record).items()}
                found |= {name: mask for name, mask in fitted.items() if mask.any()}
        return found

    def read_record(self, place: int) -> Tensor:
        """The image of a record, read from its file."""
        return self._files([place])(0)

    def take_store(self, folder: str | None, origin: Sequence[object]) -> None:
        """Set the store of decoded images, once `records` are there; see `PreparedImages.use_store`."""
        self.use_store(folder, self._keys, (*origin, self.decoding))

    def take_masks(
        self, sources: Sequence[MaskSource], missing: str, decode: bool, error: ErrorText | None = None
    ) -> None:
        """Set the files of masks, once `records` are there.

        Args:
            sources: files, for each record.
            missing: error or skip, of masks that are empty.
            decode: whether masks are read to their end.
            error: makes the message about a record's mask; None names the image.

        Raises:
            ValueError: a mask is damaged, empty, or of another aspect than its image.
        """
        sizes = [*self.records[["height", "width"]].itertuples(index=False, name=None)]
        slices = [None if number is None else int(number) for number in self.records["number"]]
        sources = [source._replace(slices=slices, plane=self.decoding.plane) for source in sources]
        error = error or error_by_name(self.records["name"])
        check_masks(sources, sizes, self.shape, missing == "skip", decode, error)
        for source in sources:
            check_volumes(source, self.records["path"].tolist(), error)
        self.mask_sources = sources
        self.mask_names = tuple(dict.fromkeys(name for source in sources for name in source.numbers))
        for name in self.mask_names:
            meant = checks.suggestion(name, self.task.classes)
            if meant and name not in self.task.classes:
                log.warning("the masks %r have the name of no class, so no map is judged by them.%s", name, meant)

    def warn_of_reoriented(self, reoriented: Sequence[bool]) -> None:
        """A line in the log about images that their EXIF orientation turns or mirrors, and that have masks or boxes.

        Args:
            reoriented: of each record, whether its image is turned or mirrored when it is read.
        """
        boxed = set(self.known_boxes["row"])
        found = [
            row
            for row, own in enumerate(reoriented)
            if own and (row in boxed or any(source.is_as_stored(row) for source in self.mask_sources))
        ]
        if found:
            log.warning(
                "%d images with masks or boxes have an EXIF orientation, such as %s: they are read upright, and masks "
                "and boxes are taken to lie on the upright image. If they were drawn on the pixels as stored, remove "
                "the orientation from the images' files",
                len(found),
                self.records["name"].iloc[found[0]],
            )

    def identify(self, described: bytes, tables: Sequence[Path], images_read: bool) -> None:
        """Set the content, and the files that are part of it, once all else is there.

        Args:
            described: what is part of the content besides records, labels, splits, boxes and masks.
            tables: files and folders that were read.
            images_read: whether `described` has the bytes of all images.
        """
        masks = [path for source in self.mask_sources for path in source.paths if path]
        read = () if images_read else self.records["path"]
        images = [*dict.fromkeys(file_of(Path(path)) for path in dict.fromkeys(read))]
        self.unread = (*self.files_read(images), *map(Path, dict.fromkeys(masks)))
        stored = [] if self.store is None else [self.store.folder]
        self.files = (*tables, *sorted({path.parent for path in (*images, *self.unread)}), *stored)
        facts = repr((self.task.classes, self.shape, self.decoding, self.labels.tolist(), dict(self.facts)))
        of_masks = repr([(dict(source.numbers), [bool(path) for path in source.paths]) for source in self.mask_sources])
        records = self.records.drop(columns="path").to_csv(index=False)
        texts = (facts, records, self.known_boxes.to_csv(index=False), of_masks)
        self.content = _checks.fingerprint((described, *(text.encode() for text in texts)), self.rows)
        self.facts = {**self.facts, **_splits.split_facts(self.rows, self.labels, self.task.classes)}

    def _files(self, places: Sequence[int]) -> Callable[[int], Tensor]:
        """Images at these places, each read from its file."""
        found = self.records.iloc[list(places)]
        numbers = [None if number is None else int(number) for number in found["number"]]
        return ReadFiles(found["path"].tolist(), numbers, self.shape, self.decoding)

    def _keys(self) -> list[str]:
        """What the image of each record depends on."""
        rows = self.records[["name", "path", "number"]].itertuples(index=False)
        return [f"{name} {number} {self.decoding} {stamp(file_of(Path(path)))}" for name, path, number in rows]

    def _fitted(self, mask: Mask, size: tuple[int, int], path: str) -> Mask:
        if not geometry.mask_fits(mask.shape, size, self.shape):
            raise ValueError(
                f"a mask must have the aspect of its image, {size[0]} x {size[1]} pixels, got "
                f"{mask.shape[0]} x {mask.shape[1]} in {path}."
            )
        return geometry.fit_mask(mask, self.shape)
