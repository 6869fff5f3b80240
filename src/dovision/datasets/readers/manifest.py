"""Tables of cells in CSV, JSON lines or parquet; errors name the row and the column."""

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
    """Raised for a whole table that breaks a rule of tables."""


class Manifest(NamedTuple):
    """A table of text cells; a cell without a value is empty.

    `cells` has a row an entry, and its index is the number of the row in the file: in CSV the header is row 1, as
    spreadsheets count; in JSON lines and parquet the first entry is.
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

    def renamed(self, names: Mapping[str, str]) -> Manifest:
        """Rename columns, by their old names."""
        return self._replace(cells=self.cells.rename(columns=dict(names)))

    def refuse(
        self, column: str, wrong: Sequence[bool] | _Bools | pd.Series[bool], rule: str, remedy: str = ""
    ) -> None:
        """Raise for the first wrong row.

        Raises:
            ValueError: a row is wrong; the message has the column, the row, the rule, the cell and the remedy.
        """
        rows = np.flatnonzero(np.asarray(wrong))
        if len(rows):
            raise ValueError(self.error(column, int(rows[0]), rule, remedy, len(rows) - 1))

    def error(self, column: str, row: int, rule: str, remedy: str = "", others: int = 0) -> str:
        """Error message about a cell, given by its position in `cells`."""
        got = "" if column not in self.cells else f", got {self.cells[column].iloc[row]!r}"
        more = f" {others:,} more {'row is' if others == 1 else 'rows are'} like it." if others else ""
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
        cells = _parquet(path)
    else:
        data = _utf8(path, (files.unzipped if zipped else files.read_bytes)(path, files.TEXT))
        cells = _csv(path, data, suffix) if suffix in (".csv", ".tsv") else _as_text(path, _json_lines(path, data))
    if cells.empty:
        raise ValueError(f"{path} must have at least one row, got none.")
    return Manifest(path, cells)


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


def _csv(path: Path, data: bytes, suffix: str) -> pd.DataFrame:
    head = next((line for line in _lines(path, data) if line.strip()), "").rstrip("\r\n")
    stated = _STATED.fullmatch(head.strip())
    separator = stated[1] if stated else "\t" if suffix == ".tsv" else max(_SEPARATORS, key=head.count)
    _check_count(path, 1, head.count(separator))
    header: list[str] = []
    rows, numbers, number = [], [], 0
    try:
        for number, record in enumerate(csv.reader(_lines(path, data), delimiter=separator, strict=True), 1):
            cells = [cell.strip() for cell in record]
            if not any(cells) or (stated and not header and cells[0].startswith("sep=")):
                continue
            width = len(header)
            while len(cells) > width and not cells[-1]:  # empty cells behind the columns that have a name
                cells.pop()
            if not header:
                header = _distinct(path, _with_names_apart(cells, separator, len(record)))
                continue
            if len(cells) != width:
                raise ValueError(
                    f"each row of {path} must have as many cells as the header, {width}, but row {number} has "
                    f"{len(cells)}: {separator.join(cells)[:_SHOWN]!r}. "
                    + (f"Quote cells that contain {separator!r}." if width > 1 else _ABOVE)
                )
            rows.append(cells)
            numbers.append(number)
            _check_count(path, len(rows), width)
    except csv.Error as error:
        raise ValueError(
            f"{path} must be a whole table of cells, but row {number + 1} is not: {error}. Mend it."
        ) from error
    table = pd.DataFrame(rows, columns=header, index=numbers, dtype=object)
    return table[[name for name in table if name]]


def _with_names_apart(header: list[str], separator: str, width: int) -> list[str]:
    """Name the columns of a header whose last name is that of several, as in "Bbox [x,y,w,h]",,, if quoted."""
    names = header[-1].split(separator) if "[" in header[-1] else header[-1:]
    return [*header[:-1], *names] if len(names) - 1 == width - len(header) else header


def _distinct(path: Path, names: list[str]) -> list[str]:
    """Check that no two names of columns are equal; those without a name are left out later."""
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if twice:
        raise _Refused(f"columns of {path} must have different names, got {twice[0]!r} twice. Rename one of them.")
    return names


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
            _distinct(path, table.schema_arrow.names)
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
    """Raise if a table has more cells than are held in memory."""
    if rows > _ROWS or columns > _COLUMNS or rows * columns > _CELLS:
        raise _Refused(
            f"{path} must have at most {_ROWS:,} rows, {_COLUMNS:,} columns and {_CELLS:,} cells, got {columns:,} "
            f"columns in row {rows:,}. Leave columns out, or cut it into several."
        )


def _as_text(path: Path, entries: Iterable[tuple[int, Mapping[str, Any]]]) -> pd.DataFrame:
    """Convert typed values, by the number of their row, to text; a row that lacks a value has an empty cell."""
    columns: dict[str, list[str]] = {}
    numbers: list[int] = []
    for number, entry in entries:
        for name, value in entry.items():
            if isinstance(value, (dict, bytes)):
                raise _Refused(
                    f"{name} in row {number} of {path} must be text, a number or a list, got {type(value).__name__}."
                )
            cells = columns.setdefault(name, [])
            cells += [""] * (len(numbers) - len(cells))
            cells.append(_cell(value))
        numbers.append(number)
        _check_count(path, len(numbers), len(columns))
    for cells in columns.values():
        cells += [""] * (len(numbers) - len(cells))
    return pd.DataFrame(columns, index=numbers, dtype=object)


def _cell(value: Any) -> str:
    """Format a typed value as the text that it would be in CSV; a list is joined by "|"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "|".join(map(_cell, value)) if isinstance(value, (list, tuple)) else str(value).strip()


def _utf8(path: Path, data: bytes) -> bytes:
    """Encode a text as UTF-8."""
    other = next((other for start, other in _OTHER_FILES.items() if data.startswith(start)), None)
    if other is not None:
        raise ValueError(f"{path} must be a text in UTF-8, got {other}.")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} must be a text in UTF-8: {error}, in row {row}. Save it as UTF-8.") from error
    return data


def _lines(path: Path, data: bytes) -> Iterator[str]:
    """Iterate over the lines of a text: as one string it takes up to four times its bytes."""
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    while line := text.readline(_LINE):
        if len(line) == _LINE:
            raise ValueError(f"{path} must have lines of less than {_LINE:,} characters, got a longer one.")
        yield line
