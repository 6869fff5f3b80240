"""Images that a table lists: CSV, JSON lines or parquet, with labels, patients, splits, boxes and masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers import boxes as box_tables
from dovision.datasets.readers import labels as label_columns
from dovision.datasets.readers import table_rows
from dovision.datasets.readers.copies import check_copies
from dovision.datasets.readers.file_images import FileImages
from dovision.datasets.readers.manifest import Manifest, read_manifest
from dovision.datasets.readers.mask_sources import MaskSettings, mask_sources
from dovision.datasets.readers.nifti import PLANES
from dovision.datasets.readers.table_rows import FILE, NAME, NUMBER, Columns
from dovision.datasets.readers.unread_columns import warn_of_unread

log = logging.getLogger(__name__)


class Table(FileImages):
    """Images that a table lists, a row an image: its path, label, patient, split, boxes and masks.

    Paths are relative to a folder, and lead out of neither it nor the root. A file is a usual image (see
    `ImageFolder`), DICOM, or a slice of a NIfTI volume; it is resized to cover the shape, its centre taken, and its
    boxes and masks with it. Images and DICOM files may be members of a ZIP archive, which is not unpacked:
    films.zip/patient/1.png, or folder=films.zip and patient/1.png.
    Rows that repeat an image, equal but for their box, are further boxes of it.

    Args:
        root: the folder of the table and its images.
        manifest: the table, below the root: .csv, .tsv, .jsonl, .ndjson (each may be gzipped) or .parquet.
        folder: that paths are relative to, or archive that they are members of, below the root; None: the root.
        task, classes, shape: facts; 1 or 3 channels.
        columns: names of the columns, as of `table_rows.Columns`.
        splits: names of train, val and test in the column of splits, each one or several; None: it has none.
        separator: between the labels of a cell.
        ignored_labels: names of labels that are no class, such as "No Finding": a multiclass row of one is left out.
        where: columns, and the value or values that a row must have there to be used; None: all rows.
        group: regular expression found in each path, as of `ImageFolder`, where there is no column of patients.
        boxes: a second table, below the root, with a row a box: the image's path, its four numbers, a label.
            None: the boxes are in the manifest, if it has such columns.
        masks: files of masks, as of `mask_sources.MaskSettings`.
        window, plane: of DICOM, NIfTI and 16-bit files, as of `_image_io.Decoding`.
        val_fraction, test_fraction: shares of the images, where the table has no splits; the first also where it has
            no val.
        seed: of the cut.
        check: pixels, which decodes each file once at start, or headers, which decodes some.
        on_bad_file: error, or skip, which lists them in `bad_files`.
        leaking: refuse, warn or drop, where patients or groups have rows in two splits; as of `_splits.Cut`.
        copies: error, or warn, where files of two splits have the same bytes.
        store: folder of images that `prepare` decoded once, of 8 bits; read where it is complete. None: read the files.

    Raises:
        FileNotFoundError: the root, or a table, is not there.
        ValueError: a row is wrong, and the message has its number and its column; a split is empty.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import dovision as dv
        >>> root, rows = Path(tempfile.mkdtemp()), ["path,label"]
        >>> for number in range(40):
        ...     Image.new("L", (20, 20), 6 * number).save(root / f"{number}.png")
        ...     rows.append(f"{number}.png,{('cat', 'dog')[number % 2]}")
        >>> (root / "metadata.csv").write_text("\\n".join(rows)) > 0
        True
        >>> settings = {"root": str(root), "shape": [1, 16, 16], "classes": ["cat", "dog"]}
        >>> pictures = dv.component("dataset", "table", settings)
        >>> pictures.task.classes, pictures.split("test")[0].image.shape
        (('cat', 'dog'), torch.Size([1, 16, 16]))
    """

    def __init__(
        self,
        root: str,
        manifest: str,
        folder: str | None,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        columns: Mapping[str, Any],
        splits: Mapping[str, Any] | None,
        separator: str,
        ignored_labels: Sequence[str],
        where: Mapping[str, Any] | None,
        group: str | None,
        boxes: str | None,
        masks: Mapping[str, Any],
        window: Sequence[float] | None,
        plane: str,
        val_fraction: float,
        test_fraction: float,
        seed: int,
        check: str,
        on_bad_file: str,
        leaking: str,
        copies: str,
        store: str | None,
    ) -> None:
        self._root = _folder(root)
        self._folder = self._root if folder is None else self._root / folder
        self.task = _checks.task(task, classes, ("multiclass", "multilabel"), "a table")
        self.shape = _image_io.grey_or_rgb_shape(shape)
        self.decoding = _image_io.Decoding(_window(window), checks.choice("plane", plane, PLANES))
        decode = checks.choice("check", check, ("pixels", "headers")) == "pixels"
        checks.choice("on_bad_file", on_bad_file, ("error", "skip"))
        cut = _splits.Cut(val_fraction, test_fraction, seed, leaking)
        settings = _checks.group("masks", MaskSettings, masks)
        listed = table_rows.rows_where(read_manifest(self._root / manifest, "manifest"), where)
        stated = _checks.group("columns", Columns, columns)
        self._columns = table_rows.present_columns(listed, stated)
        elsewhere = settings.folder is not None, boxes is not None
        warn_of_unread(listed, stated, self._columns, self.task.classes, *elsewhere)
        listed = table_rows.named_rows(listed, self._columns.path, self._columns.slice, self._folder)
        table_rows.refuse_outside(listed, self._columns.path, self._root, self._folder)
        rows = table_rows.one_row_an_image(listed, self._columns.path)
        self._listed = frozenset(rows.cells[NAME])
        label = self._label(rows, separator, checks.names("ignored_labels", ignored_labels))
        given = table_rows.given_splits(rows, self._columns.split, self._columns.patient, splits)
        rows, given = self._used(rows, label, given, decode, on_bad_file == "skip", group)
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, ("train",))
        check_copies([header.digest for header in self._headers], self.records, self.rows, copies)
        self._find_boxes(listed, boxes)
        sources = mask_sources(rows, self._columns.mask, settings, self._root)
        self.take_masks(sources, settings.missing, decode, rows.error)
        self.warn_of_reoriented([header.reoriented for header in self._headers])
        self.take_store(store, [self._root, self._folder, manifest, where, self._columns])
        tables = [self._root / each for each in (manifest, boxes) if each is not None]
        self.identify(b"", tables, images_read=False)

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """The names of the classes, where the configuration has none: all labels of the rows that are used."""
        columns = _checks.group("columns", Columns, settings["columns"])
        if columns.label is None:
            raise ValueError("classes must name the columns of 0 and 1, got None. Use 'dataset.classes=[cat,dog]'.")
        rows = read_manifest(_folder(settings["root"]) / settings["manifest"], "manifest")
        cells = table_rows.rows_where(rows, settings["where"]).column(columns.label, "columns.label")
        several = settings["task"] == "multilabel"
        names = {
            name.strip() for cell in set(cells) for name in (cell.split(settings["separator"]) if several else [cell])
        }
        return sorted(names - {"", *settings["ignored_labels"]})

    @classmethod
    def found_channels(cls, settings: Mapping[str, Any]) -> int:
        """The channels of the images, where the configuration has none: as of `_image_io.channels_of`."""
        root, columns = _folder(settings["root"]), _checks.group("columns", Columns, settings["columns"])
        rows = table_rows.rows_where(read_manifest(root / settings["manifest"], "manifest"), settings["where"])
        columns = table_rows.present_columns(rows, columns)
        cells = table_rows.named_rows(rows, columns.path, columns.slice, root / (settings["folder"] or "")).cells
        decoding = _image_io.Decoding(_window(settings["window"]), checks.choice("plane", settings["plane"], PLANES))
        images = [*zip(cells[FILE], cells[NUMBER], strict=True)]
        return _image_io.channels_of(images, lambda image: _image_io.pixels(Path(image[0]), 3, decoding, image[1]))

    def _label(self, rows: Manifest, separator: str, ignored: Sequence[str]) -> label_columns.Labels:
        if self._columns.label is None:
            return label_columns.labels_from_columns(rows, self.task)
        if self._columns.label not in rows.cells and set(self.task.classes) <= set(rows.cells):
            raise ValueError(
                f"{rows.path} must have a column {self._columns.label!r} for labels, but has one for each class. Use "
                "dataset.columns.label=null."
            )
        return label_columns.labels_from_names(rows, self._columns.label, self.task, separator, ignored)

    def _used(
        self,
        rows: Manifest,
        label: label_columns.Labels,
        splits: list[str] | None,
        decode: bool,
        skip: bool,
        group: str | None,
    ) -> tuple[Manifest, list[str] | None]:
        """Take the rows that have a label and a whole file as records; returns them, and their splits."""
        if not label.has_label.all():
            log.info("%d rows of ignored labels are left out", (~label.has_label).sum())
        rows = rows.chosen(label.has_label)
        found = table_rows.checked_files(rows, self._columns.path, self.decoding, decode, self._folder)
        self.bad_files = tuple(each for each in found if isinstance(each, str))
        if self.bad_files and not skip:
            raise ValueError(
                f"each file of a table must be a whole image, got {len(self.bad_files)} bad:"
                f"{checks.bullet_lines(self.bad_files)}\n"
                "Mend or remove them, or leave them out with dataset.on_bad_file=skip."
            )
        whole = np.array([not isinstance(each, str) for each in found], dtype=bool)
        if not whole.any():
            raise ValueError(f"{rows.path} must have a row that can be used, got none.")
        use = label.has_label.copy()
        use[use] = whole
        rows, headers = rows.chosen(whole), [each for each in found if not isinstance(each, str)]
        self._headers = headers
        _image_io.warn_of_lost_colour([header.colour for header in headers], self.shape)
        self._warn_of_text(rows, [header.burnt_in for header in headers])
        _image_io.warn_of_dark(rows.cells[NAME].tolist(), rows.cells[FILE].tolist(), [each.dark for each in headers])
        cells = rows.cells
        names = cells[NAME].tolist()
        patient = self._columns.patient
        groups = _splits.groups_by_pattern(names, group) if patient is None else cells[patient].tolist()
        self.records = pd.DataFrame(
            {
                "name": names,
                "path": cells[FILE].to_numpy(),
                "number": cells[NUMBER].to_numpy(),
                "group": groups,
                "height": [header.height for header in headers],
                "width": [header.width for header in headers],
            }
        )
        self.labels = label.label[use]
        return rows, None if splits is None else [own for own, used in zip(splits, use, strict=True) if used]

    def _warn_of_text(self, rows: Manifest, burnt_in: Sequence[bool]) -> None:
        if any(burnt_in):
            log.warning(
                "%d DICOM files say that names or other text are burnt into their pixels, such as %s in row %s: a "
                "classifier can read them, and figures show them",
                sum(burnt_in),
                rows.cells[NAME].iloc[burnt_in.index(True)],
                rows.cells.index[burnt_in.index(True)],
            )

    def _find_boxes(self, listed: Manifest, second: str | None) -> None:
        """The boxes of the second table, or those in the manifest's rows."""
        if second is not None:
            self.known_boxes = table_rows.boxes_of_images(
                self._root / second, self._folder, self.records, self.task.classes, self._columns, self._listed
            )
        elif box_tables.box_columns(listed) is not None:
            column = self._columns.label
            labels = pd.Series("", listed.cells.index) if column is None else listed.cells[column]
            self.known_boxes = box_tables.file_boxes(
                listed, self.records, listed.cells[NAME], labels, self.task.classes
            )


def _folder(root: str) -> Path:
    folder = Path(root).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"root must be the folder of a table and its images, but {folder} is not one. Set dataset.root."
        )
    return folder


def _window(window: Sequence[float] | None) -> tuple[float, float] | None:
    if window is None:
        return None
    if isinstance(window, str) or not isinstance(window, Sequence) or len(window) != 2:
        raise ValueError(f"window must be a centre and a width, such as [40, 400], got {window!r}.")
    return checks.number("window", window[0]), checks.at_least("window", checks.number("window", window[1]), 1)
