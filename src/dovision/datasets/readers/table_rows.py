"""Rows of a manifest: selection, and the file and split of each."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision import checks
from dovision.datasets._splits import as_setting, probable_splits
from dovision.datasets.readers.boxes import box_columns, file_boxes
from dovision.datasets.readers.manifest import MADE, Manifest, cell_numbers, together
from dovision.types import SPLITS

log = logging.getLogger(__name__)
_MISSING = ("", "nan", "none", "null", "na", "n/a", "<na>")
NAME, FILE, NUMBER = f"{MADE}name", f"{MADE}file", f"{MADE}number"
_WITHOUT = {  # words in names of a column, by its role, and what is done without it
    "patient": (("patient", "subject", "participant", "pid"), "each image counts as a patient of its own"),
    "split": (("split", "partition", "phase", "fold", "set"), "splits are cut by a seed"),
}


class Columns(NamedTuple):
    """Names of a manifest's columns; an optional one with its default name is used only if the table has it."""

    path: str = "path"
    label: str | None = "label"  # None: a column of 0 and 1 for each class
    patient: str | None = "patient"
    split: str | None = "split"
    slice: str | None = "slice"  # of a NIfTI volume, or frame of a DICOM file, from 0
    box_label: str | None = None  # of labels in a second table, of boxes; None: named as in the first
    mask: str | Mapping[str, str] | None = "mask"  # of paths of masks; or a column for each mask, by the mask's name


def present_columns(manifest: Manifest, columns: Columns) -> Columns:
    """Columns in use, None for an optional one that the table does not have; one of a like name is logged.

    Raises:
        ValueError: a column that was named is not there.
    """
    numbers: dict[str, Any] = {role: str(name) for role, name in columns._asdict().items() if isinstance(name, int)}
    columns = columns._replace(**numbers)
    optional = ("patient", "split", "slice", "mask")  # by these names, where the table has them
    unset = [role for role in optional if getattr(columns, role) == role and role not in manifest.cells]
    absent: dict[str, Any] = dict.fromkeys(unset)
    used = columns._replace(**absent)
    for role in ("path", *optional):
        names = getattr(used, role)
        for name in names.values() if isinstance(names, Mapping) else [names] if names else []:
            manifest.column(str(name), f"columns.{role}")
    for role, (words, instead) in _WITHOUT.items():
        if role in unset and (
            alike := [name for name in manifest.cells if any(word in name.lower() for word in words)]
        ):
            text = "%s has a column %r that is not read: %s. Set 'dataset.columns.%s=%s' if it is meant"
            log.warning(text, manifest.path, alike[0], instead, role, alike[0])
    return used


def rows_where(manifest: Manifest, where: Mapping[str, Any] | None) -> Manifest:
    """Select the rows whose cells have one of the given values of their columns.

    Raises:
        ValueError: there is no such column, or no such row.
    """
    for column, values in (where or {}).items():
        cells = manifest.column(str(column), "where")
        wanted = [str(value) for value in (values if isinstance(values, (list, tuple)) else [values])]
        if not cells.isin(wanted).any():
            legal, got = checks.listed(sorted(set(cells))), checks.listed(wanted)
            raise ValueError(f"where.{column} must be a value of that column, {legal}, got {got}.")
        manifest = manifest.chosen(cells.isin(wanted).to_numpy())
    return manifest


def named_rows(manifest: Manifest, path: str, number: str | None, root: Path) -> Manifest:
    """Add the image's name, its file, and the number of its slice to rows, in columns NAME, FILE and NUMBER.

    Raises:
        ValueError: a path is empty or a URL, a number is no whole one.
    """
    cells = manifest.column(path, "columns.path")
    empty = (cells == "") | cells.str.contains("\0", regex=False)
    url = cells.str.match(r"[A-Za-z][A-Za-z0-9+.-]+://")
    *_, numbers = together(
        lambda: manifest.refuse(path, empty, "the path of an image"),
        lambda: manifest.refuse(path, url, "the path of a file, not a URL", "Fetch the files first."),
        lambda: cell_numbers(manifest, number, "a whole number from 0 on", whole=True) if number else None,
    )
    slices = [None if numbers is None or np.isnan(numbers[row]) else int(numbers[row]) for row in range(len(cells))]
    names = [
        _name(cell, root) if value is None else f"{_name(cell, root)}#{value}"
        for cell, value in zip(cells, slices, strict=True)
    ]
    files = [str(root / cell) for cell in cells]
    made = {NAME: names, FILE: files, NUMBER: pd.Series(slices, cells.index, dtype=object)}
    return manifest._replace(cells=manifest.cells.assign(**made))


def _name(cell: str, root: Path) -> str:
    """Name of a file, however its path is written: relative to the root, or whole if it lies elsewhere."""
    path = os.path.normpath(root / cell)
    return (os.path.relpath(path, root) if Path(path).is_relative_to(root) else path).replace(os.sep, "/")


def check_repeated_rows(manifest: Manifest, path: str) -> None:
    """Raise if rows of one image differ in something else than their box, or have the same."""
    _refuse_equal_rows(manifest, path)
    columns = manifest.cells.columns.difference([*(box_columns(manifest) or ()), NAME, FILE, NUMBER], sort=False)
    for column, first in manifest.cells.groupby(NAME)[[*columns]].transform("first").items():
        wrong = manifest.cells[column] != first
        rule = f"{next(iter(first[wrong]), '')!r}, as in the first row of the same image"
        manifest.refuse(str(column), wrong, rule, "Further rows of an image may have other boxes alone.")


def _refuse_equal_rows(manifest: Manifest, path: str) -> None:
    """Raise if a row repeats another one whole, so that its image or its box would count twice."""
    equal = manifest.cells.drop(columns=[NUMBER]).duplicated()  # a number is in the name
    manifest.refuse(path, equal, "of an image, or of a box, that no other row has", "Leave one of the rows out.")


def boxes_of_images(
    table: Manifest,
    root: Path,
    records: pd.DataFrame,
    classes: Sequence[str],
    columns: Columns = Columns(),  # noqa: B008
    other_names: Collection[str] = (),
) -> pd.DataFrame:
    """Boxes of a table with a row per box, as of `file_boxes`.

    Args:
        table: the table.
        root: that paths in it are relative to.
        records: the images, as of `FileImages`.
        classes: those that a box may speak for.
        columns: names of the table's columns; of these path, slice, label and box_label count.
        other_names: that a box may have, besides those of the records.

    Raises:
        ValueError: a row is wrong; the message has its number and its column.
    """
    table = named_rows(table, columns.path, columns.slice if columns.slice in table.cells else None, root)
    names = table.cells[NAME]
    _refuse_equal_rows(table, columns.path)
    wrong = ~names.isin(records["name"]) & ~names.isin(other_names)
    table.refuse(columns.path, wrong, "the path of an image of the dataset")
    if columns.box_label is not None:
        labels = table.column(columns.box_label, "columns.box_label")
    elif columns.label in table.cells:
        labels = table.cells[columns.label]
    else:
        text = "%s has no column %r: its boxes speak for no class. Name that of their labels in %s"
        log.warning(text, table.path, columns.label, "dataset.columns.box_label")
        labels = pd.Series("", names.index)
    return file_boxes(table, records, names, labels, classes)


def given_splits(
    manifest: Manifest, split: str | None, patient: str | None, names: Mapping[str, Any] | None
) -> npt.NDArray[np.object_] | None:
    """Read the split of each row, train, val or test; None if the table has none.

    Args:
        manifest: rows.
        split, patient: its columns.
        names: of train, val and test in the column, each one or several, which may be numbers; None: it has none.

    Raises:
        ValueError: a cell is none of these names; a row has no patient.
    """
    if patient is not None:
        manifest.refuse(
            patient,
            manifest.cells[patient].str.lower().isin(_MISSING),
            "the name or number of a patient",
            "Set dataset.columns.patient=null where patients are not known.",
        )
        number = manifest.cells[patient].str.replace(r"^0*(\d+)(?:\.0+)?$", r"\1", regex=True)
        first = manifest.cells[patient].groupby(number, sort=False).transform("first")
        rule = "a number written as in its other rows, if it is the same patient"
        manifest.refuse(patient, (manifest.cells[patient] != first).to_numpy(), rule, "Write it in one way.")
    if split is None:
        return None
    split_of: dict[str, str] = {}
    for meant, written in (names or {}).items():
        checks.choice("splits", meant, SPLITS)
        for name in written if isinstance(written, (list, tuple)) else [written]:
            if name is not None and split_of.setdefault(str(name), meant) != meant:
                others = f"{split_of[str(name)]} and {meant}"
                raise ValueError(f"splits must have different names, got {name!r} for {others}.")
    if not split_of:
        raise ValueError(
            f"splits must name some of train, val and test in the column {split!r}, got {names}. Set "
            "dataset.columns.split=null to have them cut."
        )
    cells = manifest.cells[split]
    manifest.refuse(split, cells == "", "a split", "Give it one, or leave such rows out with dataset.where.")
    wrong = ~cells.isin(split_of)
    setting = as_setting(probable_splits(cells[wrong].unique()) or {"val": "NAME"})
    remedy = f"Set 'dataset.splits={setting}', or dataset.columns.split=null to have them cut."
    manifest.refuse(split, wrong, f"one of {', '.join(split_of)}", remedy)
    return cells.map(split_of).to_numpy(object)
