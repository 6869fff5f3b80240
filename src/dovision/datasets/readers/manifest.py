"""Tables of cells in CSV or parquet; errors name the row and the column."""

from __future__ import annotations

import csv
import io
import math
import mimetypes
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dovision import checks
from dovision.io import files
from dovision.types import Task

IGNORED = -1  # the label of a row that is left out
SUFFIXES = (".csv", ".tsv", ".parquet")  # the first two may be gzipped
MADE = "\0"  # the start of the names of columns that are made here, which no table has
_SHOWN = 1000  # characters of a row, in an error
_SEPARATORS = ",;\t"
_ABOVE = "Take what is above the header away."
_Bools = npt.NDArray[np.bool_]


class Manifest(NamedTuple):
    """A table of text cells; a cell without a value is empty.

    `cells` has a row an entry, and its index is the number of the row in the file: in CSV the header is row 1, as
    spreadsheets count; in parquet and in CSV without a header, whose columns have numbers from 0 for
    names, the first entry is.
    """

    path: Path
    cells: pd.DataFrame

    def column(self, name: str, needed_for: str) -> pd.Series[str]:
        """Cells of a column; the error names existing columns.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.cells:
            names = [column for column in self.cells if not column.startswith(MADE)]
            key = f" Set dataset.{needed_for}." if needed_for.startswith("columns.") else ""
            cells = " Cells are separated by a comma, semicolon or tab." if len(names) == 1 else ""
            raise ValueError(
                f"{self.path} must have a column {name!r} for {needed_for}, got {checks.listed(names)}."
                f"{checks.suggestion(name, names)}{key}{cells}"
            )
        return self.cells[name]

    def chosen(self, rows: _Bools) -> Manifest:
        """Select rows, which keep their numbers."""
        return self._replace(cells=self.cells[rows])

    def refuse(
        self, column: str, wrong: Sequence[bool] | _Bools | pd.Series[bool], rule: str, remedy: str = ""
    ) -> None:
        """Raise for all wrong rows.

        Raises:
            ValueError: a row is wrong; the message has the column, the row, the rule, the cell and the remedy.
        """
        rows = np.flatnonzero(np.asarray(wrong))
        if len(rows):
            raise ValueError(self.error(column, int(rows[0]), rule, remedy, rows[1:].tolist()))

    def error(self, column: str, row: int, rule: str, remedy: str = "", others: Sequence[int] = ()) -> str:
        """Error message about a cell, given by its position in `cells`, and other rows with the same error."""
        got = "" if column not in self.cells else f", got {self.cells[column].iloc[row]!r}"
        numbers = checks.listed([str(number) for number in self.cells.index[others]])
        more = f" Likewise row{'s' * (len(others) > 1)} {numbers}." if len(others) else ""
        end = f" {remedy}" if remedy else ""
        return f"{column} in row {self.cells.index[row]} of {self.path} must be {rule}{got}.{more}{end}"


def read_manifest(path: Path, key: str) -> Manifest:
    """Read a table.

    Args:
        path: of the file.
        key: the setting that names it, for errors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is of another kind, damaged or empty, a row has more or fewer cells than the header, or two
            columns have one name.
    """
    zipped = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if zipped else path).suffix.lower()
    if suffix not in SUFFIXES or (zipped and suffix == ".parquet"):
        raise ValueError(f"{key} must be a file that ends in {', '.join(SUFFIXES)} (or .csv.gz), got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"{key} must be a file, but there is no {path}. Set dataset.root and {key}.")
    if suffix == ".parquet":
        cells = _as_text(path, _parquet(path))
    else:
        cells = _csv(path, _utf8(path, (files.unzipped if zipped else files.read_bytes)(path, files.TEXT)), suffix)
    if cells.empty:
        raise ValueError(f"{path} must have at least one row, got none.")
    return Manifest(path, cells)


class TableErrors(ValueError):
    """Several errors of a table, a sentence each."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__(f"the table has {len(sentences)} errors:{checks.bullet_lines(sentences)}")
        self.sentences = sentences


def together(*steps: Callable[[], Any]) -> list[Any]:
    """Results of steps that do not need each other; raise the errors of all of them at once."""
    results: list[Any] = []
    wrong: list[str] = []
    for step in steps:
        try:
            results.append(step())
        except ValueError as error:
            wrong += error.sentences if isinstance(error, TableErrors) else [str(error)]
    if wrong:
        raise TableErrors(wrong) if len(wrong) > 1 else ValueError(wrong[0])
    return results


def cell_numbers(manifest: Manifest, column: str, rule: str, whole: bool = False) -> npt.NDArray[np.float64]:
    """Parse a column as numbers, nan for empty cells.

    Raises:
        ValueError: a cell is no finite number, or, if `whole`, no whole one from 0 on.
    """
    cells = manifest.cells[column]
    values = pd.to_numeric(cells.where(cells != ""), errors="coerce").to_numpy(np.float64)
    wrong = (cells != "").to_numpy() & ~np.isfinite(values)
    if whole:
        wrong |= np.isfinite(values) & ((values < 0) | (values != np.floor(values)))
    manifest.refuse(column, wrong, rule)
    return values


def labels_from_names(
    manifest: Manifest, column: str, task: Task, separator: str = "|", ignored: Collection[str] = ()
) -> Tensor:
    """Read labels from a column of class names, shape (N,), or for multilabel (N, K), float.

    Args:
        manifest: the table.
        column: its column.
        task: one name a row for multiclass; for multilabel any number, joined by the separator, none in an empty cell.
        separator: between names, such as "|".
        ignored: names that stand for no class: a multiclass row of one gets IGNORED.

    Raises:
        ValueError: names are unknown, or multiclass rows have none or several; all of these are named.
    """
    cells = manifest.column(column, "columns.label")
    number = {name: index for index, name in enumerate(task.classes)} | dict.fromkeys(ignored, IGNORED)
    if not task.multilabel:
        manifest.refuse(column, cells == "", "the name of a class", "Leave the row out, or give its class.")
    names = {cell: [name.strip() for name in cell.split(separator) if name.strip()] for cell in cells.unique()}
    names |= {cell: [cell] for cell in names if cell in number}
    refused: list[Callable[[], None]] = []
    for cell in names:
        if unknown := [name for name in names[cell] if name not in number]:
            near = checks.suggestion(unknown[0].removesuffix(".0"), task.classes)  # of numbers, as pandas writes them
            remedy = f"{near.strip()} Name others in dataset.ignored_labels, or all in dataset.classes.".strip()
            rule = f"of the classes {checks.listed(task.classes)}"
            refused.append(partial(manifest.refuse, column, cells == cell, rule, remedy))
        if not task.multilabel and len(names[cell]) > 1:
            rule = "one class, since the task is multiclass"
            refused.append(partial(manifest.refuse, column, cells == cell, rule, "Use dataset.task=multilabel."))
    together(*refused)
    if task.multilabel:
        rows = {cell: [name in names[cell] for name in task.classes] for cell in names}
        return torch.tensor([rows[cell] for cell in cells], dtype=torch.float32)
    return torch.tensor([number[names[cell][0]] for cell in cells], dtype=torch.int64)


def _csv(path: Path, text: str, suffix: str) -> pd.DataFrame:
    head = text.lstrip("\r\n ").partition("\n")[0]
    separator = "\t" if suffix == ".tsv" else max(_SEPARATORS, key=head.count)
    if separator not in head and _is_image(head.split(" ")[0]):
        separator = " "  # one or several blanks, as of ELPV's labels.csv
    cells_of_head = [*filter(None, head.strip().split(separator))]
    header = (
        [*map(str, range(len(cells_of_head)))] if cells_of_head and _is_image(cells_of_head[0]) else []
    )  # a table without one
    rows: dict[int, list[str]] = {}
    number = 0
    try:
        lines = csv.reader(io.StringIO(text, ""), delimiter=separator, skipinitialspace=True, strict=True)
        for number, record in enumerate(lines, 1):
            cells = [cell.strip() for cell in record]
            if not any(cells):
                continue
            while len(cells) > len(header) and not cells[-1]:  # empty cells behind the columns that have a name
                cells.pop()
            if not header:
                names = [
                    *map(str.strip, cells[-1].split(separator))
                ]  # of several columns, as in "Bbox [x,y,w,h]",,, if quoted
                header = [*cells[:-1], *names] if len(names) - 1 == len(record) - len(cells) else cells
            elif len(cells) == len(header):
                rows[number] = cells
            else:
                raise ValueError(
                    f"each row of {path} must have as many cells as the header, {len(header)}, but row {number} has "
                    f"{len(cells)}: {separator.join(cells)[:_SHOWN]!r}. "
                    + (f"Quote cells that contain {separator!r}." if len(header) > 1 else _ABOVE)
                )
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a whole table of cells, but row {number + 1} is not: {error}. Mend it."
        ) from error
    _check_distinct(path, header)
    table = pd.DataFrame([*rows.values()], columns=header, index=[*rows], dtype=object)
    return table[[name for name in table if name]]


def _is_image(cell: str) -> bool:
    """Return whether a cell is the path of an image, and so no name of a column."""
    return str(mimetypes.guess_type(cell.strip('"'))[0]).startswith("image/")


def _check_distinct(path: Path, names: Sequence[str]) -> None:
    """Raise if two columns have one name; those without a name are left out."""
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise ValueError(f"columns of {path} must have different names, got {twice[0]!r} twice. Rename one of them.")


def _parquet(path: Path) -> pd.DataFrame:
    try:
        with files.open_file(path, files.TEXT) as file:
            table = pq.ParquetFile(file, page_checksum_verification=True).read()
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"{path} must be a whole parquet file: {str(error).splitlines()[0].rstrip('.')}.") from error
    _check_distinct(path, table.column_names)
    return pd.DataFrame(table.to_pydict(), index=range(1, len(table) + 1), dtype=object)


def _as_text(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Convert typed values to text; what an entry lacks is an empty cell."""
    for name, values in table.items():
        for number, value in values.items():
            if isinstance(value, (dict, bytes)):
                got = type(value).__name__
                raise ValueError(f"{name} in row {number} of {path} must be text, a number or a list, got {got}.")
    return table.map(_cell)


def _cell(value: Any) -> str:
    """Format a typed value as the text that it would be in CSV; a list is joined by "|"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "|".join(map(_cell, value)) if isinstance(value, (list, tuple)) else str(value).strip()


def _utf8(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} must be a text in UTF-8: {error}, in row {row}. Save it as UTF-8.") from error
