"""Reader of datasets of files: images, boxes and masks of a table, whatever the table was made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers import boxes as box_tables
from dovision.datasets.readers.mask_sources import ErrorText, MaskSource, check_masks, check_volumes
from dovision.datasets.readers.record_images import ChosenRows, RecordImages
from dovision.functional import geometry
from dovision.io.images import BadFile
from dovision.io.progress import DISPLAY
from dovision.types import SOURCE_BOXES, Mask, Resize, Shape

log = logging.getLogger(__name__)
_DECODED = 16  # files that are decoded where only headers are checked, about
_TASKS = 2000  # of threads, at most: to hand over files one by one takes longer than to decode small ones


class FileImages(RecordImages):
    """Base of datasets of files. A subclass sets `task`, `shape`, `labels` and `rows`, calls `take_files` and then
    `identify`, and may set the others:

    Attributes:
        records: as of `RecordImages`, with path, number (of a slice, or None), height and width of the file's image
            in pixels.
        headers: of each record's file.
        boxes_in_files: as `boxes.file_boxes` gives them, `row` being that of a record.
        mask_sources: files of masks.
        decoding: how files are read.
    """

    headers: Sequence[_image_io.ImageHeader] = ()
    boxes_in_files: pd.DataFrame = pd.DataFrame(columns=box_tables.BOX_FIELDS)
    mask_sources: Sequence[MaskSource] = ()
    decoding = _image_io.Decoding()

    def source_boxes(self, split: str) -> pd.DataFrame:
        row_in_split = {record: row for row, record in enumerate(self.rows[split])}
        boxes = self.boxes_in_files[self.boxes_in_files["row"].isin(row_in_split)]
        fitted = box_tables.fitted_boxes(boxes, self._sizes(), self.shape, self.resize)
        if not len(fitted):
            return pd.DataFrame(columns=SOURCE_BOXES)
        return fitted.assign(row=fitted["row"].map(row_in_split))

    def source_masks(self, split: str, row: int) -> Mapping[str, Mask]:
        record = self.rows[split][row]
        size = tuple(self.records[["height", "width"]].iloc[record])
        masks: dict[str, Mask] = {}
        for source in self.mask_sources:
            if source.paths[record]:
                fitted = {
                    name: geometry.fit_mask(mask, size, self.shape, self.resize)
                    for name, mask in source.read(record).items()
                }
                masks |= {name: mask for name, mask in fitted.items() if mask.any()}
        return masks

    def reader(self, rows: Sequence[int]) -> Callable[[int], Tensor]:
        records = self.records.iloc[list(rows)]
        numbers = [None if number is None else int(number) for number in records["number"]]
        read = partial(_read, shape=self.shape, decoding=self.decoding, resize=self.resize)
        return ChosenRows(read, [*zip(records["path"], numbers, strict=True)])

    def take_files(
        self,
        files: pd.DataFrame,
        dataset: str,
        on_bad_file: str,
        decode: bool = True,
        error: Callable[[int, Exception], str] | None = None,
        white: int | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Check files, with a progress bar, and set the records and headers of those that are whole images.

        Args:
            files: name, path, number (of a slice, or None) and group of each.
            dataset: what they are files of, for the error.
            on_bad_file: error, or skip, which lists them in `bad_files`.
            decode: whether each file is decoded to its end; if not, some are, all over the table.
            error: makes the message about a file; None names it.
            white: value that becomes 1 in grey files of more than 8 bits; None: as of `white_level`.

        Returns:
            Which files are whole, shape (N,).

        Raises:
            ValueError: a file is bad, and that is an error.
        """
        skip = checks.choice("on_bad_file", on_bad_file, ("error", "skip")) == "skip"
        if white is not None:  # files of larger values are bad
            self.decoding = replace(self.decoding, white=_image_io.white_level((), white))
        step = 1 if decode else max(1, len(files) // _DECODED)
        names, paths, numbers = (files[column].tolist() for column in ("name", "path", "number"))

        def checked(row: int) -> _image_io.ImageHeader | str:
            try:
                return self.decoding.header(Path(paths[row]), numbers[row], decode=row % step == 0)
            except (BadFile, FileNotFoundError, NotADirectoryError) as reason:
                return error(row, reason) if error else f"{names[row]}: {reason}"

        with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
            tasks = np.array_split(range(len(files)), min(len(files), _TASKS) or 1)
            headers = chain.from_iterable(pool.map(lambda rows: [*map(checked, rows.tolist())], tasks))
            read = list(DISPLAY.track(headers, "checking images", "files", len(files)))
        self.bad_files = tuple(header for header in read if isinstance(header, str))
        self.headers = [header for header in read if not isinstance(header, str)]
        if deep := [header.deep for header in self.headers if header.deep is not None]:
            self.decoding = replace(self.decoding, white=_image_io.white_level(deep, white))
        if self.bad_files and not (skip and self.headers):
            raise ValueError(
                f"each file of {dataset} must be a whole image, got {len(self.bad_files)} bad:"
                f"{checks.bullet_lines(self.bad_files)}\n"
                "Mend or remove them, or leave them out with dataset.on_bad_file=skip."
            )
        whole = np.array([not isinstance(header, str) for header in read], dtype=bool)
        heights, widths = ([getattr(header, edge) for header in self.headers] for edge in ("height", "width"))
        self.records = files[whole].reset_index(drop=True).assign(height=heights, width=widths)
        if self.shape[0] == 1 and (coloured := sum(header.colour for header in self.headers)):
            text = "%d of %d images are in colour and are read as grey. Set 'dataset.shape=[3,%d,%d]' to keep colours"
            log.warning(text, coloured, len(self.headers), *self.shape[1:])
        return whole

    def take_masks(self, sources: Sequence[MaskSource], missing: str, error: ErrorText) -> None:
        """Set the files of masks, once `records` are there.

        Empty masks are refused unless `missing` is skip.

        Raises:
            ValueError: a mask is damaged, empty, or of another aspect, or another number of slices, than its image.
        """
        slices = [None if number is None else int(number) for number in self.records["number"]]
        sources = [source._replace(slices=slices, plane=self.decoding.plane) for source in sources]
        check_masks(sources, self._sizes(), self.shape, missing == "skip", error)
        for source in sources:
            check_volumes(source, self.records["path"].tolist(), error)
        self.mask_sources = sources
        self.mask_names = tuple(dict.fromkeys(name for source in sources for name in source.numbers))
        for name in self.mask_names:
            meant = checks.suggestion(name, self.task.classes)
            if meant and name not in self.task.classes:
                log.warning("the masks %r have the name of no class, so no map is judged by them.%s", name, meant)

    def check_copies(self, allowed: str) -> None:
        """Refuse files of equal bytes in two splits, or warn where these are allowed; warn of those of two groups.

        Raises:
            ValueError: there are copies in two splits.
        """
        refuse = checks.choice("copies", allowed, ("error", "warn")) == "error"
        split = pd.Series({row: name for name, rows in self.rows.items() for row in rows}, dtype=object)
        digests = [header.digest or None for header in self.headers]
        files = self.records[["name", "group"]].assign(split=split, digest=pd.Series(digests, dtype=object)).dropna()
        copies = files[files["digest"].duplicated(keep=False)]
        splits, groups = (copies.groupby("digest")[column].transform("nunique") for column in ("split", "group"))
        if (across := copies[splits > 1]).size:
            copy = across.iloc[0]
            other = across[(across["digest"] == copy["digest"]) & (across["split"] != copy["split"])].iloc[0]
            text = (
                f"{across['digest'].nunique()} of other splits have the same bytes, such as {copy['name']} "
                f"({copy['split']}) and {other['name']} ({other['split']})"
            )
            if refuse:
                raise ValueError(
                    f"an image must be in one split, but {text}. Remove the copies, or give them one group or patient; "
                    "or set dataset.copies=warn."
                )
            log.warning("images are in two splits: %s, so that a classifier is tested on what it was fitted to", text)
        if (within := copies[(splits == 1) & (groups > 1)]).size:
            log.warning(
                "%d images have the same bytes as another one of another group or patient, such as %s and %s: they "
                "count as independent in intervals",
                len(within) - within["digest"].nunique(),
                *within["name"][within["digest"] == within["digest"].iloc[0]].iloc[:2],
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
        images = [Path(path) for path in dict.fromkeys(read)]
        self.unread = (*images, *map(Path, dict.fromkeys(masks)))
        self.files = (*tables, *sorted({path.parent for path in self.unread}))
        self.suffixes = {Path(path).suffix for path in self.records["path"]}
        settings = repr((self.task.classes, self.shape, self.decoding, self.labels.tolist(), dict(self.recorded)))
        of_masks = repr([(dict(source.numbers), [bool(path) for path in source.paths]) for source in self.mask_sources])
        records = self.records.drop(columns="path").to_csv(index=False)
        texts = (settings, records, self.boxes_in_files.to_csv(index=False), of_masks)
        self.content = _checks.fingerprint((described, *(text.encode() for text in texts)), self.rows)
        self.recorded = {**self.recorded, **_splits.split_facts(self.rows, self.labels, self.task.classes)}

    def _sizes(self) -> list[tuple[int, int]]:
        return [*self.records[["height", "width"]].itertuples(index=False, name=None)]


def _read(file: tuple[str, int | None], shape: Shape, decoding: _image_io.Decoding, resize: Resize) -> Tensor:
    """Read an image, shape `shape`, from a path and the number of its slice."""
    return _image_io.fitted(_image_io.pixels(Path(file[0]), shape[0], decoding, file[1]), shape, resize)
