"""Tables of cells in CSV, JSON lines or parquet, whose errors name the row and the column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
_ROWS, _COLUMNS, _CELLS = 1 << 22, 1 << 14, 1 << 24  # the most: short texts in all cells take 1.2 GB
_SHOWN = 1000  # characters of a row, in an error
_LINE = 1 << 24  # characters, the most of a line
_BATCH = 128  # rows of parquet that are unpacked together: a text that is stored once may stand in each
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


class _Refused(ValueError):
    """A table that is whole, and not as a table must be."""


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
        data = _utf8(path, (files.unzipped if zipped else files.read_bytes)(path, files.TEXT))
        cells = _as_text(path, _json_lines(path, data)) if kind in (".jsonl", ".ndjson") else _csv(path, data, kind)
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


def _csv(path: Path, data: bytes, kind: str) -> pd.DataFrame:
    head = next((line for line in _lines(path, data) if line.strip()), "").rstrip("\r\n")
    stated = _STATED.fullmatch(head.strip())
    separator = stated[1] if stated else "\t" if kind == ".tsv" else max(_SEPARATORS, key=head.count)
    _check_count(path, 1, head.count(separator))
    reader = csv.reader(_lines(path, data), delimiter=separator, strict=True)
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
                    f"{len(cells)}: {separator.join(cells)[:_SHOWN]!r}. "
                    + (f"Quote cells that contain {separator!r}." if len(header) > 1 else _ABOVE)
                )
            rows.append([cell.strip() for cell in cells])
            numbers_of.append(number)
            _check_count(path, len(rows), len(header))
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
        raise _Refused(f"columns of {path} must have different names, got {twice[0]!r} twice. Rename one of them.")
    return [name or "" for name in names]


def _json_lines(path: Path, data: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(_lines(path, data), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"each row of {path} must be a JSON object, but row {number} is not: {error}.") from error
        if not isinstance(entry, dict):
            raise ValueError(f"each row of {path} must be a JSON object, got {type(entry).__name__} in row {number}.")
        yield number, entry


def _parquet(path: Path) -> pd.DataFrame:
    try:
        with files.open_file(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as table:
            _header(path, table.schema_arrow.names)
            _check_count(path, table.metadata.num_rows, table.metadata.num_columns)
            groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
            if (size := sum(group.total_byte_size for group in groups)) > files.TEXT:
                raise _Refused(files.too_large(path, files.TEXT, f"{size:,} unpacked"))
            rows = (row for batch in table.iter_batches(_BATCH) for row in batch.to_pylist())
            return _as_text(path, enumerate(rows, 1))
    except (_Refused, FileNotFoundError):
        raise
    except Exception as error:  # whatever a damaged file leads to
        raise ValueError(f"{path} must be a whole parquet file: {str(error).splitlines()[0].rstrip('.')}.") from error


def _check_count(path: Path, rows: int, columns: int) -> None:
    """Raise where a table has more cells than are held in memory."""
    if rows > _ROWS or columns > _COLUMNS or rows * columns > _CELLS:
        raise _Refused(
            f"{path} must have at most {_ROWS:,} rows, {_COLUMNS:,} columns and {_CELLS:,} cells, got {columns:,} "
            f"columns in row {rows:,}. Leave columns out, or cut it into several."
        )


def _as_text(path: Path, entries: Iterable[tuple[int, Mapping[str, Any]]]) -> pd.DataFrame:
    """Typed values by the number of their row, as text; a row that lacks a value has an empty cell."""
    found: dict[str, list[str]] = {}
    numbers_of: list[int] = []
    for number, entry in entries:
        for name, value in entry.items():
            if isinstance(value, (dict, bytes)):
                raise _Refused(
                    f"{name} in row {number} of {path} must be text, a number or a list, got {type(value).__name__}."
                )
            cells = found.setdefault(name, [])
            cells += [""] * (len(numbers_of) - len(cells))
            cells.append(_cell(value))
        numbers_of.append(number)
        _check_count(path, len(numbers_of), len(found))
    for cells in found.values():
        cells += [""] * (len(numbers_of) - len(cells))
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


def _utf8(path: Path, data: bytes) -> bytes:
    """The bytes of a text, if it is UTF-8."""
    kind = next((kind for start, kind in _OTHER_FILES.items() if data.startswith(start)), None)
    if kind is not None:
        raise ValueError(f"{path} must be a text in UTF-8, got {kind}.")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} must be a text in UTF-8: {error}, in row {row}. Save it as UTF-8.") from error
    return data


def _lines(path: Path, data: bytes) -> Iterator[str]:
    """The lines of a text, one at a time: as one string it takes up to four times its bytes."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    while line := text.readline(_LINE):
        if len(line) == _LINE:
            raise ValueError(f"{path} must have lines of less than {_LINE:,} characters, got a longer one.")
        yield line
