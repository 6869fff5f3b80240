"""The reader of datasets of files: images, boxes and masks of a table, whatever the table was made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision.datasets import _image_io
from dovision.datasets.readers import boxes as box_tables
from dovision.functional import geometry
from dovision.interfaces import Images, Source
from dovision.io.mask_files import read_mask_file
from dovision.types import SOURCE_BOXES, Mask, Shape

log = logging.getLogger(__name__)


class MaskSource(NamedTuple):
    """A file of masks for each image, and the masks that it holds."""

    paths: Sequence[str]  # one an image; empty where it has none
    column: str  # that names them, for errors
    numbers: Mapping[str, int]  # of each mask in a label map, by name; see `io.mask_files.mask_numbers`


@dataclass(frozen=True)
class ReadFiles:
    """Images, each read from its file when it is asked for."""

    paths: list[str]
    numbers: list[int | None]  # of slices or frames
    shape: Shape
    decoding: _image_io.Decoding

    def __call__(self, row: int) -> Tensor:
        return _image_io.image_from_file(Path(self.paths[row]), self.shape, self.decoding, self.numbers[row])


class FileImages(Images):
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

    def source(self, split: str) -> Source:
        own = list(self.rows[split])
        found = self.records.iloc[own]
        numbers = [None if number is None else int(number) for number in found["number"]]
        read = ReadFiles(found["path"].tolist(), numbers, self.shape, self.decoding)
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
                masks = read_mask_file(Path(path), source.numbers)
                found |= {name: self._fitted(mask, size, path) for name, mask in masks.items() if mask.any()}
        return found

    def _fitted(self, mask: Mask, size: tuple[int, int], path: str) -> Mask:
        if not geometry.mask_fits(mask.shape, size, self.shape):
            raise ValueError(
                f"a mask must have the aspect of its image, {size[0]} x {size[1]} pixels, got "
                f"{mask.shape[0]} x {mask.shape[1]} in {path}."
            )
        return geometry.fit_mask(mask, self.shape)
