"""Images listed in a table: CSV, JSON lines or parquet, with labels, patients, splits, boxes and masks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
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
from dovision.datasets.readers.manifest import Manifest, read_manifest, together
from dovision.datasets.readers.mask_sources import MaskSettings, mask_sources
from dovision.datasets.readers.nifti import PLANES
from dovision.datasets.readers.table_rows import FILE, NAME, NUMBER, Columns
from dovision.types import TASKS, Resize, Task

log = logging.getLogger(__name__)
_UNKNOWN = ("", "-1", "-1.0", "nan")
_ZERO, _ONE = ("0", "0.0", "false"), ("1", "1.0", "true")  # the last ones in any case, as pandas writes them
IGNORED = -1  # the label of a row that is left out


class Table(FileImages):
    """Images listed in a table, a row per image: its path, label, patient, split, boxes and masks.

    Paths are relative to a folder, and lead out of neither it nor the root. A file is a usual image (see
    `ImageFolder`), DICOM, or a slice of a NIfTI volume; it is resized to cover the shape, its centre taken, and its
    boxes and masks with it.
    Rows that repeat an image, equal but for their box, are further boxes of it.

    Args:
        root: the folder of the table and its images.
        manifest: the table, below the root: .csv, .tsv, .jsonl, .ndjson (each may be gzipped) or .parquet.
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
        white_level: value that becomes 1 in grey files of more than 8 bits; None: as of `_image_io.white_level`.
        val_fraction, test_fraction: shares of the images, where the table has no splits; the first also where it has
            no val.
        seed: of the cut.
        check: pixels, which decodes each file once at start, or headers, which decodes some.
        on_bad_file: error, or skip, which lists them in `bad_files`.
        leaking: refuse, warn or drop, where patients or groups have rows in two splits; as of `_splits.Cut`.
        copies: error, or warn, where files of two splits have the same bytes.
        resize: how images are brought to the shape, as of `Resize.of`; None: resized to cover it.

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
        stated = _checks.group("columns", Columns, columns)
        used = table_rows.present_columns(listed, stated)
        table_rows.warn_of_unread(listed, stated, used, self.task.classes, settings.folder is not None)
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
        together(
            lambda: table_rows.refuse_outside(listed, used.path, base, paths_from),
            lambda: table_rows.check_repeated_rows(listed, used.path),
        )
        all_names = frozenset(listed.cells[NAME])
        unlabelled = (label.reshape(len(label), -1) == IGNORED).all(1).numpy()
        used_rows = ~listed.cells[NAME].duplicated().to_numpy() & ~unlabelled
        if unlabelled.any():
            log.info("%d rows of ignored labels are left out", unlabelled.sum())
        rows = listed.chosen(used_rows)
        if rows.cells.empty:
            raise ValueError(f"{rows.path} must have a row of a class that is not ignored, got none.")
        files = rows.cells[[NAME, FILE, NUMBER]].set_axis(["name", "path", "number"], axis=1).reset_index(drop=True)
        names = files["name"].tolist()
        patients = None if used.patient is None else rows.cells[used.patient].tolist()
        files["group"] = _splits.groups_by_pattern(names, group) if patients is None else patients
        error = partial(_file_error, rows, used.path, paths_from)
        whole = self.take_files(files, "a table", on_bad_file, decode, error, white_level)
        rows = rows.chosen(whole)
        self.labels = label[used_rows][whole]
        if given is not None:
            given = pd.Series(given)[used_rows][whole].tolist()
        self.rows = _splits.split_rows(
            given, self.records["group"].tolist(), self.labels, self.task.classes, cut, ("train",)
        )
        self.check_copies(copies)
        if boxes is not None:
            self.boxes_in_files = table_rows.boxes_of_images(
                base / boxes, paths_from, self.records, self.task.classes, used, all_names
            )
        elif box_tables.box_columns(listed) is not None:
            labels = pd.Series("", listed.cells.index) if used.label is None else listed.cells[used.label]
            self.boxes_in_files = box_tables.file_boxes(
                listed, self.records, listed.cells[NAME], labels, self.task.classes
            )
        sources = mask_sources(rows, used.mask, settings, base)
        self.take_masks(sources, settings.missing, decode, rows.error)
        tables = [base / table for table in (manifest, boxes) if table is not None]
        self.identify(b"", tables, images_read=False)

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


def _file_error(rows: Manifest, path: str, folder: Path, row: int, reason: Exception) -> str:
    """Error message about a file that cannot be read; paths are relative to the folder."""
    if isinstance(reason, FileNotFoundError):
        return rows.error(path, row, "the path of a file that is there", f"Paths are relative to {folder}.")
    return rows.error(path, row, "a whole image", f"It is {str(reason).rstrip('.')}.")


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
    center = checks.number("window", window[0])
    return _image_io.Decoding((center, checks.at_least("window", checks.number("window", window[1]), 1)), plane)


def labels_from_names(manifest: Manifest, column: str, task: Task, separator: str, ignored: Collection[str]) -> Tensor:
    """Read labels from a column of class names, shape (N,), or for multilabel (N, K), float.

    Args:
        manifest: the table.
        column: its column.
        task: one name a row for multiclass; for multilabel any number, joined by the separator, none in an empty cell.
        separator: between names, such as "|".
        ignored: names that stand for no class: a multiclass row of one gets IGNORED.

    Raises:
        ValueError: a name is unknown, or a multiclass row has none or several.
    """
    cells = manifest.column(column, "columns.label")
    number = {name: index for index, name in enumerate(task.classes)} | dict.fromkeys(ignored, IGNORED)
    if not task.multilabel:
        manifest.refuse(column, cells == "", "the name of a class", "Leave the row out, or give its class.")
    legal = checks.listed(task.classes)
    named = {cell: [name.strip() for name in cell.split(separator) if name.strip()] for cell in cells.unique()}
    whole = {cell: [cell] if cell in number else names for cell, names in named.items()}
    refused: list[Callable[[], None]] = []
    for cell, names in whole.items():
        unknown = [name for name in names if name not in number]
        if unknown:
            near = checks.suggestion(unknown[0].removesuffix(".0"), task.classes)  # of numbers, as pandas writes them
            remedy = f"{near.strip()} Name others in dataset.ignored_labels, or all in dataset.classes.".strip()
            refused.append(partial(manifest.refuse, column, cells == cell, f"of the classes {legal}", remedy))
        if not task.multilabel and len(names) > 1:
            rule = "one class, since the task is multiclass"
            refused.append(partial(manifest.refuse, column, cells == cell, rule, "Use dataset.task=multilabel."))
    together(*refused)
    if task.multilabel:
        rows = {cell: [name in names for name in task.classes] for cell, names in whole.items()}
        return torch.tensor([rows[cell] for cell in cells], dtype=torch.float32)
    return torch.tensor([number[whole[cell][0]] for cell in cells], dtype=torch.int64)


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
    wrong = label.sum(1) != 1
    manifest.refuse(
        task.classes[0], wrong, "such that one class of the row is 1", "Mend the row, or use dataset.task=multilabel."
    )
    return torch.from_numpy(label.argmax(1))
