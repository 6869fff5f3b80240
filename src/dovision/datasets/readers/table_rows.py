"""Rows of a manifest: which are used, the file, split and size of each."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dovision import checks
from dovision.datasets._image_io import Decoding, ImageHeader, is_colour
from dovision.datasets._splits import as_setting, probable_splits
from dovision.datasets.readers.boxes import box_columns, file_boxes
from dovision.datasets.readers.manifest import MADE, Manifest, cell_numbers, read_manifest
from dovision.io.images import BadFile
from dovision.io.paths import outside
from dovision.runtime.progress import DISPLAY
from dovision.types import SPLITS

log = logging.getLogger(__name__)
_DECODED = 16  # files that are decoded where only headers are checked, about
_MISSING = ("", "nan", "none", "null", "na", "n/a", "<na>")
NAME, FILE, NUMBER = f"{MADE}name", f"{MADE}file", f"{MADE}number"


class Columns(NamedTuple):
    """Names of a manifest's columns; an optional one that is named as here is used only where the table has it."""

    path: str = "path"
    label: str | None = "label"  # None: a column of 0 and 1 for each class
    patient: str | None = "patient"
    split: str | None = "split"
    slice: str | None = "slice"  # of a NIfTI volume, or frame of a DICOM file, from 0
    box_label: str | None = None  # of labels in a second table, of boxes; None: named as in the first
    mask: str | Mapping[str, str] | None = "mask"  # of paths of masks; or a column for each mask, by the mask's name


def present_columns(manifest: Manifest, columns: Columns) -> Columns:
    """The columns that are used, None for an optional one that the table does not have.

    Raises:
        ValueError: a column that was named is not there.
    """
    absent = {
        role
        for role in ("patient", "split", "slice", "mask")
        if getattr(columns, role) == Columns._field_defaults[role] and role not in manifest.cells
    }
    used = columns._replace(
        patient=None if "patient" in absent else columns.patient,
        split=None if "split" in absent else columns.split,
        slice=None if "slice" in absent else columns.slice,
        mask=None if "mask" in absent else columns.mask,
    )
    for role in ("path", "patient", "split", "slice", "mask"):
        name = getattr(used, role)
        for own in name.values() if isinstance(name, Mapping) else [name] if name else []:
            manifest.column(str(own), f"columns.{role}")
    return used


def rows_where(manifest: Manifest, where: Mapping[str, Any] | None) -> Manifest:
    """The rows whose cells have one of the values that are given for their columns.

    Raises:
        ValueError: there is no such column, or no such row.
    """
    for column, values in (where or {}).items():
        cells = manifest.column(str(column), "where")
        wanted = {str(value) for value in (values if isinstance(values, (list, tuple)) else [values])}
        if not cells.isin(wanted).any():
            found = checks.listed(sorted(set(cells)))
            raise ValueError(
                f"where.{column} must be a value of that column, {found}, got {checks.listed(sorted(wanted))}."
            )
        manifest = manifest.chosen(cells.isin(wanted).to_numpy())
    return manifest


def named_rows(manifest: Manifest, path: str, number: str | None, root: Path) -> Manifest:
    """The rows with the image's name, its file, and the number of its slice in columns of their own.

    Raises:
        ValueError: a path is empty or a URL, a number is no whole one.
    """
    cells = manifest.column(path, "columns.path")
    manifest.refuse(path, (cells == "") | cells.str.contains("\0", regex=False), "the path of an image")
    manifest.refuse(
        path, cells.str.match(r"[A-Za-z][A-Za-z0-9+.-]+://"), "the path of a file, not a URL", "Fetch the files first."
    )
    numbers = np.full(len(cells), np.nan)
    if number is not None:
        numbers = cell_numbers(manifest, number, "a whole number from 0 on", whole=True)
    slices = [None if np.isnan(each) else int(each) for each in numbers]
    posix = _names(cells, root)
    names = [name if own is None else f"{name}#{own}" for name, own in zip(posix, slices, strict=True)]
    files = [str(root / cell) for cell in cells]
    made = manifest.cells.assign(**{NAME: names, FILE: files, NUMBER: pd.Series(slices, cells.index, dtype=object)})
    return manifest._replace(cells=made)


def refuse_outside(manifest: Manifest, path: str, root: Path, folder: Path) -> None:
    """Raise where the path of an image leads out of the dataset's root and of the folder that paths are relative to.

    Raises:
        ValueError: one does, by .., as an absolute path, or through a link.
    """
    wrong = outside(manifest.cells[FILE], (root, folder))
    if any(wrong):
        meant = meant_path(manifest.cells[path].iloc[wrong.index(True)], folder)
        remedy = meant or "Set dataset.root to a folder that holds all files, or copy them below it."
        manifest.refuse(path, wrong, f"the path of a file below {root}", remedy)


def _names(cells: Iterable[str], root: Path) -> list[str]:
    """The one name of each file, however its path is written: as in the first row that has it.

    It is relative to the root, or whole where the path is, and lies elsewhere.
    """
    base, own = str(root), os.path.realpath(root)
    folders: dict[str, str] = {}  # where they really lie, by their path
    first: dict[str, str] = {}
    names = []
    for cell in cells:
        folder, file = os.path.split(os.path.join(base, cell))
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.join(folders[folder], file)
        if real not in first:
            inside = real.startswith(os.path.join(own, ""))
            whole = real if inside or ".." in Path(cell).parts else os.path.normpath(os.path.join(base, cell))
            name = whole if os.path.isabs(cell) and not inside else os.path.relpath(whole, own if inside else base)
            first[real] = name.replace(os.sep, "/")
        names.append(first[real])
    return names


def one_row_an_image(manifest: Manifest, path: str) -> Manifest:
    """The first row of each image; the others may differ from it in their box alone.

    Raises:
        ValueError: they differ in something else, or are no boxes.
    """
    edges = box_columns(manifest)
    first = manifest.cells.groupby(NAME, sort=False).head(1)
    repeated = manifest.cells[NAME].duplicated()
    if edges is None:
        manifest.refuse(path, repeated, "an image that no other row has", "Leave one of the rows out.")
    else:
        _refuse_equal_boxes(manifest, path, edges)
    of_first = first.set_index(NAME).loc[manifest.cells[NAME]]
    for column in manifest.cells.columns.difference([*(edges or ()), NAME, FILE, NUMBER], sort=False):
        other = repeated.to_numpy() & (manifest.cells[column].to_numpy() != of_first[column].to_numpy())
        if other.any():
            place = int(other.argmax())
            name = manifest.cells[NAME].iloc[place]
            rule = (
                f"{of_first[column].iloc[place]!r}, as in row {first.index[first[NAME] == name][0]} of the same image"
            )
            manifest.refuse(column, other, rule, "Further rows of an image may have other boxes alone.")
    return manifest._replace(cells=first)


def _refuse_equal_boxes(manifest: Manifest, path: str, edges: Sequence[str]) -> None:
    """Raise where a row with a box repeats another one whole, so that its box would count twice."""
    manifest = manifest.chosen((manifest.cells[[*edges]] != "").any(axis=1).to_numpy())
    cells = manifest.cells.drop(columns=[NUMBER])  # which is in the name
    equal = cells.duplicated().to_numpy()
    if equal.any():
        first = cells.index[(cells == cells.iloc[int(equal.argmax())]).all(axis=1)][0]
        rule = f"of a box that no other row has, but row {first} is the same"
        manifest.refuse(path, equal, rule, "Leave one of the rows out.")


def boxes_of_images(
    path: Path,
    root: Path,
    records: pd.DataFrame,
    classes: Sequence[str],
    columns: Columns = Columns(),  # noqa: B008
    known: Collection[str] | None = None,
) -> pd.DataFrame:
    """The boxes of a table that has a row a box, as of `file_boxes`.

    Args:
        path: of the table.
        root: that paths in it are relative to.
        records: the images, as of `FileImages`.
        classes: those that a box may speak for.
        columns: names of the table's columns; of these path, slice, label and box_label count.
        known: names that a box may have, besides those of the records; None: no others.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a row is wrong; the message has its number and its column.
    """
    table = read_manifest(path, "boxes")
    number = columns.slice if columns.slice in table.cells else None
    table = named_rows(table, columns.path, number, root)
    names = table.cells[NAME]
    _refuse_equal_boxes(table, columns.path, box_columns(table) or ())
    wrong = ~names.isin(records["name"]) & ~names.isin(known or ())
    table.refuse(columns.path, wrong, "the path of an image of the dataset")
    own = columns.label if columns.box_label is None else columns.box_label
    if columns.box_label is not None:
        table.column(columns.box_label, "columns.box_label")
    elif own not in table.cells:
        log.warning(
            "%s has no column %r: its boxes speak for no class. Name that of their labels in dataset.columns.box_label",
            path,
            own,
        )
        own = None
    labels = pd.Series("", names.index) if own is None else table.cells[own]
    return file_boxes(table, records, names, labels, classes)


def given_splits(
    manifest: Manifest, split: str | None, patient: str | None, names: Mapping[str, Any] | None
) -> list[str] | None:
    """The split of each row, train, val or test; None where the table has none.

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
        _refuse_written_otherwise(manifest, patient)
    if split is None:
        return None
    meant = _split_names(names or {})
    if not meant:
        raise ValueError(
            f"splits must name some of train, val and test in the column {split!r}, got {names}. Set "
            "dataset.columns.split=null to have them cut."
        )
    written = manifest.cells[split]
    wrong = ~written.isin(meant)
    if wrong.any():
        if (written == "").any():
            manifest.refuse(split, written == "", "a split", "Give it one, or leave such rows out with dataset.where.")
        legal, own = [*meant], probable_splits(written[wrong].unique()) or {"val": "NAME"}
        manifest.refuse(
            split,
            wrong,
            " or ".join([*filter(None, [", ".join(legal[:-1])]), legal[-1]]),
            f"Set 'dataset.splits={as_setting(own)}', or dataset.columns.split=null to have them cut.",
        )
    return list(written.map(meant))


def _split_names(names: Mapping[str, Any]) -> dict[str, str]:
    """The split that is meant by each name of the column."""
    meant: dict[str, str] = {}
    for own, theirs in names.items():
        checks.choice("splits", own, SPLITS)
        for name in theirs if isinstance(theirs, (list, tuple)) else [theirs]:
            if name is not None and meant.setdefault(str(name), own) != own:
                raise ValueError(f"splits must have different names, got {name!r} for {meant[str(name)]} and {own}.")
    return meant


def _refuse_written_otherwise(manifest: Manifest, patient: str) -> None:
    """Raise where a number that names a patient is written in two ways, such as 1 and 1.0, or 1 and 001."""
    cells = manifest.cells[patient]
    number = cells.str.replace(r"^0*(\d+)(?:\.0+)?$", r"\1", regex=True)
    first = cells.groupby(number, sort=False).transform("first")
    wrong = (cells != first).to_numpy()
    if wrong.any():
        own = first.iloc[int(wrong.argmax())]
        rule = f"{own!r}, as in row {first.index[cells == own][0]}, if it is the same patient"
        manifest.refuse(patient, wrong, rule, "Write each patient's number in one way.")


def checked_files(
    manifest: Manifest, path: str, decoding: Decoding, decode: bool, root: Path
) -> list[ImageHeader | str]:
    """Size of each row's image, or what is wrong with its file; with a progress bar.

    Args:
        manifest: rows with their files.
        path: the column of paths.
        decoding: as they are read.
        decode: whether files are decoded to their end; if not, some are, all over the table.
        root: that paths are relative to.
    """
    cells = manifest.cells
    step = 1 if decode else max(1, len(cells) // _DECODED)

    def checked(place: int) -> ImageHeader | str:
        own, number = Path(cells[FILE].iloc[place]), cells[NUMBER].iloc[place]
        if own.is_dir():
            return manifest.error(path, place, "the path of a file", "It is a folder.")
        try:
            header = decoding.header(own, number)
            if place % step == 0:
                image = decoding.pixels(own, 3, number)
                height, width = image.shape[1:]
                header = header._replace(
                    height=height, width=width, dark=decoding.is_dark(own, image), colour=is_colour(image)
                )
            return header
        except FileNotFoundError:
            remedy = meant_path(cells[path].iloc[place], root)
            return manifest.error(path, place, "the path of a file that is there", remedy)
        except BadFile as error:
            return manifest.error(path, place, "a whole image", f"It is {str(error).rstrip('.')}.")

    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
        return list(DISPLAY.track(pool.map(checked, range(len(cells))), "checking images", "files", len(cells)))


def meant_path(cell: str, root: Path) -> str:
    """A sentence with the file below a root that a path was probably meant to be; "" if there is none."""
    parts = cell.replace("\\", "/").split("/")
    for start in range(len(parts)):  # a path of another machine, or from the working directory
        found = root.joinpath(*parts[start:])
        alike = found.name if found.is_file() else _alike(found.parent, found.name)
        if alike:
            own = "/".join([*parts[start:-1], alike])
            same = unicodedata.normalize("NFC", own) == unicodedata.normalize("NFC", cell)
            form = " (the same letters in another Unicode form)" if same else ""
            return f"Did you mean {own!r}{form}, relative to {root}?"
    return ""


def _alike(folder: Path, name: str) -> str:
    """The file of a folder whose name differs from this one in case, Unicode form or suffix alone; "" if none does."""
    names = _names_by_folded(folder)
    return names.get(_folded(name)) or names.get(_folded(Path(name).stem), "")


@lru_cache(1)
def _names_by_folded(folder: Path) -> dict[str, str]:
    """Names of a folder's files, folded, with their suffix and without it."""
    names = [own for own in sorted(os.listdir(folder)) if (folder / own).is_file()] if folder.is_dir() else []
    return {_folded(Path(own).stem): own for own in names} | {_folded(own): own for own in names}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
