"""Images listed in a table: CSV or parquet, with labels, patients, splits, boxes and masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers import boxes as box_tables
from dovision.datasets.readers import table_rows
from dovision.datasets.readers.file_images import FileImages
from dovision.datasets.readers.manifest import IGNORED, Manifest, labels_from_names, read_manifest, together
from dovision.datasets.readers.mask_sources import MaskSettings, mask_sources
from dovision.datasets.readers.nifti import PLANES
from dovision.datasets.readers.table_rows import FILE, NAME, NUMBER, Columns
from dovision.io.paths import outside
from dovision.types import TASKS, Resize, Task

log = logging.getLogger(__name__)
_UNKNOWN = ("", "-1", "-1.0", "nan")
_ZERO, _ONE = ("0", "0.0", "false"), ("1", "1.0", "true")  # the last ones in any case, as pandas writes them


class Table(FileImages):
    """Images listed in a table, a row per image: its path, label, patient, split, boxes and masks.

    Paths are relative to a folder, and lead out of neither it nor the root. A file is a usual image (see
    `ImageFolder`), DICOM, or a slice of a NIfTI volume; it is resized to cover the shape, its centre taken, and its
    boxes and masks with it.
    Rows that repeat an image, equal but for their box, are further boxes of it.

    Args:
        root: the folder of the table and its images.
        manifest: the table, below the root: .csv, .tsv (each may be gzipped) or .parquet.
        folder: that paths are relative to, below the root; None: the root.
        task, classes, shape: of the data; 1 or 3 channels.
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
        val_fraction, test_fraction, seed, leaking: of the cut, as of `_splits.Cut`.
        check: pixels, which decodes each file once at start, or headers, which decodes some.
        white_level, on_bad_file, copies, resize: as of `ImageFolder`.

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
        white_level: int | None,
        plane: str,
        val_fraction: float,
        test_fraction: float,
        seed: int,
        check: str,
        on_bad_file: str,
        leaking: str,
        copies: str,
        resize: str | Mapping[str, Any] | None = None,
    ) -> None:
        base = _folder(root)
        paths_from = base if folder is None else base / folder
        self.task = _checks.task(task, classes, TASKS, "a table")
        self.shape, self.resize = _image_io.grey_or_rgb_shape(shape), Resize.of(resize)
        self.decoding = _decoding(window, plane)
        decode = checks.choice("check", check, ("pixels", "headers")) == "pixels"
        cut = _splits.Cut(val_fraction, test_fraction, seed, leaking)
        settings = _checks.group("masks", MaskSettings, masks)
        listed = table_rows.rows_where(read_manifest(base / manifest, "manifest"), where)
        used = table_rows.present_columns(listed, _checks.group("columns", Columns, columns))
        ignored = checks.names("ignored_labels", ignored_labels)
        listed, label, given = together(
            lambda: table_rows.named_rows(listed, used.path, used.slice, paths_from),
            lambda: (
                labels_from_columns(listed, self.task)
                if used.label is None
                else labels_from_names(listed, used.label, self.task, separator, ignored)
            ),
            lambda: table_rows.given_splits(listed, used.split, used.patient, splits),
        )
        wrong = outside(listed.cells[FILE], (base, paths_from))
        remedy = "Set dataset.root to a folder that holds all files, or copy them below it."
        together(
            lambda: listed.refuse(used.path, wrong, f"the path of a file below {base}", remedy),
            lambda: table_rows.check_repeated_rows(listed, used.path),
        )
        unlabelled = (label.reshape(len(label), -1) == IGNORED).all(1).numpy()
        used_rows = ~listed.cells[NAME].duplicated().to_numpy() & ~unlabelled
        if unlabelled.any():
            log.info("%d rows of ignored labels are left out", unlabelled.sum())
        rows = listed.chosen(used_rows)
        if rows.cells.empty:
            raise ValueError(f"{rows.path} must have a row of a class that is not ignored, got none.")
        files = rows.cells[[NAME, FILE, NUMBER]].set_axis(["name", "path", "number"], axis=1).reset_index(drop=True)
        if used.patient is None:
            files["group"] = _splits.groups_by_pattern(files["name"].tolist(), group)
        else:
            files["group"] = rows.cells[used.patient].tolist()

        def error(row: int, reason: Exception, read: Manifest = rows) -> str:
            if isinstance(reason, FileNotFoundError):
                remedy = f"Paths are relative to {paths_from}."
                return read.error(used.path, row, "the path of a file that is there", remedy)
            return read.error(used.path, row, "a whole image", f"It is {str(reason).rstrip('.')}.")

        whole = self.take_files(files, "a table", on_bad_file, decode, error, white_level)
        rows = rows.chosen(whole)
        self.labels = label[used_rows][whole]
        if given is not None:
            given = given[used_rows][whole].tolist()
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, ("train",))
        self.check_copies(copies)
        if boxes is not None:
            table, names = read_manifest(base / boxes, "boxes"), frozenset(listed.cells[NAME])
            self.boxes_in_files = table_rows.boxes_of_images(
                table, paths_from, self.records, self.task.classes, used, names
            )
        elif box_tables.box_columns(listed) is not None:
            labels = pd.Series("", listed.cells.index) if used.label is None else listed.cells[used.label]
            self.boxes_in_files = box_tables.file_boxes(
                listed, self.records, listed.cells[NAME], labels, self.task.classes
            )
        sources = mask_sources(rows, used.mask, settings, base)
        self.take_masks(sources, settings.missing, rows.error)
        self.identify(b"", [base / table for table in (manifest, boxes) if table is not None], images_read=False)

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """Names of the classes if the configuration has none: all labels of the rows in use."""
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
        """Channels of the images if the configuration has none: as of `_image_io.channels_of`."""
        root, columns = _folder(settings["root"]), _checks.group("columns", Columns, settings["columns"])
        rows = table_rows.rows_where(read_manifest(root / settings["manifest"], "manifest"), settings["where"])
        columns = table_rows.present_columns(rows, columns)
        cells = table_rows.named_rows(rows, columns.path, columns.slice, root / (settings["folder"] or "")).cells
        decoding = _decoding(settings["window"], settings["plane"])
        images = [*zip(cells[FILE], cells[NUMBER], strict=True)]
        return _image_io.channels_of(images, lambda image: _image_io.pixels(Path(image[0]), 3, decoding, image[1]))


def _folder(root: str) -> Path:
    folder = Path(root).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(
            f"root must be the folder of a table and its images, but {folder} is not one. Set dataset.root."
        )
    return folder


def _decoding(window: Sequence[float] | None, plane: str) -> _image_io.Decoding:
    checks.choice("plane", plane, PLANES)
    if window is None:
        return _image_io.Decoding(None, plane)
    if isinstance(window, str) or not isinstance(window, Sequence) or len(window) != 2:
        raise ValueError(f"window must be a centre and a width, such as [40, 400], got {window!r}.")
    center, width = (checks.number("window", value) for value in window)
    return _image_io.Decoding((center, checks.at_least("window", width, 1)), plane)


def labels_from_columns(manifest: Manifest, task: Task) -> Tensor:
    """Read labels from a column per class: 0, 1, or, for multilabel if unknown, nothing or -1.

    Raises:
        ValueError: a class has no column, a cell is something else, or a multiclass row has not exactly one 1.
    """
    columns = []
    for name in task.classes:
        cells = manifest.column(name, f"the class {name}").str.lower()
        legal = (*_ZERO, *_ONE, *(_UNKNOWN if task.multilabel else ()))
        rule = "0, 1 or, where it is not known, empty or -1" if task.multilabel else "0 or 1"
        manifest.refuse(name, ~cells.isin(legal), rule)
        columns.append(np.select([cells.isin(_ONE), cells.isin(_ZERO)], [1.0, 0.0], np.nan))
    label = np.stack(columns, axis=1)
    if task.multilabel:
        return torch.from_numpy(label.astype(np.float32))
    remedy = "Mend the row, or use dataset.task=multilabel."
    manifest.refuse(task.classes[0], label.sum(1) != 1, "such that one class of the row is 1", remedy)
    return torch.from_numpy(label.argmax(1))
