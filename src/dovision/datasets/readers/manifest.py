"""Tables of cells in CSV, JSON lines or parquet, whose errors name the row and the column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from dovision import checks
from dovision.io import files

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")  # the first four may be gzipped
MADE = "\0"  # the start of the names of columns that are made here, which no table has
_SEPARATORS = ",;\t"
_STATED = re.compile("sep=(.)")  # a line above the header, with which Excel is given the separator
_ABOVE = "Take what is above the header away."
_OTHER_FILES = {  # by their first bytes
    b"PK\x03\x04": "a workbook of Excel, or a zip file. Save the sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel. Save the sheet as CSV (UTF-8)",
    b"\x1f\x8b": "a gzip file. Let its name end in .gz",
    b"\xff\xfe": "UTF-16. Save it as UTF-8",
    b"\xfe\xff": "UTF-16. Save it as UTF-8",
    b"PAR1": "a parquet file. Let its name end in .parquet",
}
_Bools = npt.NDArray[np.bool_]


class Manifest(NamedTuple):
    """A table of text cells; a cell without a value is empty.

    `cells` has a row an entry, and its index is the number of the row in the file: in CSV the header is row 1, as
    spreadsheets count; in JSON lines and parquet the first entry is.
    """

    path: Path
    cells: pd.DataFrame

    def column(self, name: str, needed_for: str) -> pd.Series[str]:
        """A column; the error names those there are.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self.cells:
            found = [own for own in self.cells.columns if not own.startswith(MADE)]
            key = f" Set dataset.{needed_for}." if needed_for.startswith("columns.") else ""
            cells = " Cells are separated by a comma, semicolon or tab." if len(found) == 1 else ""
            raise ValueError(
                f"{self.path} must have a column {name!r} for {needed_for}, got {checks.listed(found)}."
                f"{checks.suggestion(name, found)}{key}{cells}"
            )
        return self.cells[name]

    def chosen(self, rows: _Bools) -> Manifest:
        """The rows that are meant, which keep their numbers."""
        return self._replace(cells=self.cells[rows])

    def refuse(
        self, column: str, wrong: Sequence[bool] | _Bools | pd.Series[bool], rule: str, remedy: str = ""
    ) -> None:
        """Raise for the first wrong row.

        Raises:
            ValueError: a row is wrong; the message has the column, the row, the rule, the cell and the remedy.
        """
        places = np.flatnonzero(np.asarray(wrong))
        if len(places):
            raise ValueError(self.error(column, int(places[0]), rule, remedy, len(places) - 1))

    def error(self, column: str, place: int, rule: str, remedy: str = "", others: int = 0) -> str:
        """The message about a cell, given by its place among `cells`."""
        got = "" if column not in self.cells else f", got {self.cells[column].iloc[place]!r}"
        more = f" {others:,} more {'row is' if others == 1 else 'rows are'} like it." if others else ""
        own = f" {remedy}" if remedy else ""
        return f"{column} in row {self.cells.index[place]} of {self.path} must be {rule}{got}.{more}{own}"


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
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    zipped = suffixes[-1:] == [".gz"]
    kind = (suffixes[-2:-1] if zipped else suffixes[-1:] or [""])[0] if suffixes else ""
    if kind not in SUFFIXES or (zipped and kind == ".parquet"):
        raise ValueError(f"{key} must be a file that ends in {', '.join(SUFFIXES)} (or .csv.gz), got {path}.")
    if not path.is_file():
        raise FileNotFoundError(f"{key} must be a file, but there is no {path}. Set dataset.root and {key}.")
    if kind == ".parquet":
        cells = _parquet(path)
    else:
        text = _text(path, (files.unzipped if zipped else files.read_bytes)(path, files.TEXT))
        cells = _json_lines(path, text) if kind in (".jsonl", ".ndjson") else _csv(path, text, kind)
    if cells.empty:
        raise ValueError(f"{path} must have at least one row, got none.")
    return Manifest(path, cells)


def cell_numbers(manifest: Manifest, column: str, rule: str, whole: bool = False) -> npt.NDArray[np.float64]:
    """The numbers of a column, nan for empty cells.

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


def _csv(path: Path, text: str, kind: str) -> pd.DataFrame:
    head = next((line for line in text.splitlines() if line.strip()), "")
    stated = _STATED.fullmatch(head.strip())
    separator = stated[1] if stated else "\t" if kind == ".tsv" else max(_SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, numbers_of = [], []
    header: list[str] | None = None
    number = 0
    try:
        for number, cells in enumerate(reader, 1):
            if not any(cell.strip() for cell in cells) or (stated and header is None and cells[0].startswith("sep=")):
                continue
            if header is None:
                cells = _with_names_apart(cells, separator)
                header = _header(path, _without_empty_end(cells, 0))
                continue
            cells = _without_empty_end(cells, len(header))
            if len(cells) != len(header):
                raise ValueError(
                    f"each row of {path} must have as many cells as the header, {len(header)}, but row {number} has "
                    f"{len(cells)}: {separator.join(cells)!r}. "
                    + (f"Quote cells that contain {separator!r}." if len(header) > 1 else _ABOVE)
                )
            rows.append([cell.strip() for cell in cells])
            numbers_of.append(number)
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a whole table of cells, but row {number + 1} is not: {error}. Mend it."
        ) from error
    found = pd.DataFrame(rows, columns=header, index=numbers_of, dtype=object)
    return found[[name for name in found if name]]


def _without_empty_end(cells: list[str], width: int) -> list[str]:
    """The cells without the empty ones at the end, behind the columns that have a name, as some tables have them."""
    used = next((place for place in range(len(cells), width, -1) if cells[place - 1].strip()), min(width, len(cells)))
    return cells[:used]


def _with_names_apart(cells: list[str], separator: str) -> list[str]:
    """The names of a header of which the last one is that of several columns, as in "Bbox [x,y,w,h]",,, if quoted."""
    named = _without_empty_end(cells, 0)
    names = named[-1].split(separator) if "[" in named[-1] else named[-1:]
    return [*named[:-1], *names] if len(names) - 1 == len(cells) - len(named) else cells


def _header(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise ValueError(f"columns of {path} must have different names, got {twice[0]!r} twice. Rename one of them.")
    return [name or "" for name in names]


def _json_lines(path: Path, text: str) -> pd.DataFrame:
    rows, numbers_of = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(f"each row of {path} must be a JSON object, but row {number} is not: {error}.") from error
        if not isinstance(entry, dict):
            raise ValueError(f"each row of {path} must be a JSON object, got {type(entry).__name__} in row {number}.")
        rows.append(entry)
        numbers_of.append(number)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _as_text(path, names, lambda name: [row.get(name) for row in rows], numbers_of)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(files.regular(path))
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"{path} must be a whole parquet file: {str(error).splitlines()[0].rstrip('.')}.") from error
    return _as_text(path, table.column_names, lambda name: table[name].to_pylist(), range(1, len(table) + 1))


def _as_text(
    path: Path, names: Sequence[str], values: Callable[[str], Sequence[Any]], rows: Iterable[int]
) -> pd.DataFrame:
    numbers_of = list(rows)
    found = {}
    for name in names:
        cells = []
        for number, value in zip(numbers_of, values(name), strict=True):
            if isinstance(value, (dict, bytes)):
                raise ValueError(
                    f"{name} in row {number} of {path} must be text, a number or a list, got {type(value).__name__}."
                )
            cells.append(_cell(value))
        found[name] = cells
    return pd.DataFrame(found, index=numbers_of, dtype=object)


def _cell(value: Any) -> str:
    """A typed value as the text that it would be in CSV; a list is joined by "|"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "|".join(map(_cell, value)) if isinstance(value, (list, tuple)) else str(value).strip()


def _text(path: Path, data: bytes) -> str:
    kind = next((kind for start, kind in _OTHER_FILES.items() if data.startswith(start)), None)
    if kind is not None:
        raise ValueError(f"{path} must be a text in UTF-8, got {kind}.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} must be a text in UTF-8: {error}, in row {row}. Save it as UTF-8.") from error
