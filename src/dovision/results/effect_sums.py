"""The table of sums of effects over the images of each group, from which averages and their intervals follow exactly.

An effect that counts is at least RESOLUTION in size, 2^-24, and a float32, so that it is a whole multiple of 2^-47.
Sums of such whole numbers are exact, and so the same in whatever order and in whatever parts they were added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dovision.functional.effects import RESOLUTION
from dovision.results.tables import INTEGER, NAME, ROW_GROUP, RunTable, read_schema

QUANTUM = 2.0**-47  # of `total`
LOG_ODDS_SUM = "log_odds"  # the column of sums of effects in log-odds
LOG_ODDS_QUANTUM = 2.0**-24  # of `log_odds`
_MOST_LOG_ODDS = 1e4  # as which infinite ones count
SUMS_AT_ONCE = 8_000_000  # sums of groups that are held at once, of 8 bytes each, and as many counts
CELL = ("condition", "unit", "class")
_CELLS = "dovision_cells"  # names of conditions, units and classes in their order, in the metadata

SUMS = RunTable(
    "effect_sums.parquet",
    "whatever `evaluation.rows` is, a row per group (patient or image), condition, unit and class: the sums of the "
    "effects over its images, on the probability and in log-odds, of which averages and intervals are made",
    keys=("group", *CELL),
    columns={
        "group": (INTEGER, "the patient, or the image where no patients are known"),
        " ".join(CELL): (NAME, "as in effects.parquet"),
        "images": (pa.int32(), "of the group, on which the unit acts"),
        "total": (
            INTEGER,
            "sum of the effects over these images, a whole number of 2^-47; those below 2^-24 count as 0. A group's "
            "mean is total / 2^47 / images; the average effect is the mean of these",
        ),
        LOG_ODDS_SUM: (INTEGER, "the same of effects in log-odds, a whole number of 2^-24"),
    },
)

_Whole = npt.NDArray[np.int64]
_Tables = Callable[[Collection[int] | None], Iterator[pa.Table]]


class Cells(NamedTuple):
    """Names of conditions, units and classes, in order."""

    condition: tuple[str, ...]
    unit: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of conditions, units and classes, (C, U, K)."""
        return len(self.condition), len(self.unit), len(self.classes)

    @property
    def number(self) -> int:
        """Number of cells, C * U * K."""
        return math.prod(self.shape)

    def places(self, rows: pa.Table | pa.RecordBatch) -> _Whole:
        """Cell number of each row with columns condition, unit and class; shape (N,)."""
        codes = []
        for field, names in zip(CELL, self, strict=True):
            column = rows[field]
            if isinstance(column, pa.ChunkedArray):
                column = column.unify_dictionaries().combine_chunks()
            number_by_name = {name: number for number, name in enumerate(names)}
            numbers = np.array([number_by_name[name] for name in column.dictionary.to_pylist()], np.int64)
            codes.append(numbers[column.indices.to_numpy()])
        return np.ravel_multi_index(tuple(codes), self.shape)

    def row_index(self) -> pd.MultiIndex:
        """Condition, unit and class of each cell."""
        return pd.MultiIndex.from_product(self, names=CELL)


def sums_schema(cells: Cells) -> pa.Schema:
    """Schema of effect_sums.parquet, with conditions, units and classes in the metadata."""
    return SUMS.schema({_CELLS: json.dumps(cells)})


def sums_columns(cells: Cells, group: _Whole, effects: pa.RecordBatch, done: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """Columns of effect_sums.parquet for one batch.

    Args:
        cells: their names.
        group: of each image, shape (B,).
        effects: columns of effects.parquet, B * C * U * K rows, ordered by image, condition, unit, class.
        done: whether the unit acts on the image in the condition, shape (B, C, U).
    """
    groups, row = np.unique(group, return_inverse=True)
    shape = len(group), *cells.shape
    effect, log_odds = (effects[name].to_numpy().reshape(shape) for name in ("effect", "log_odds_effect"))
    every = np.broadcast_to(done[..., np.newaxis], shape)
    sums = np.zeros((3, len(groups), *cells.shape), np.int64)
    values = whole_effect(effect) * every, whole_log_odds(log_odds) * every, every
    for added, of_images in zip(sums, values, strict=True):
        for of_group, of_image in zip(row, of_images, strict=True):
            added[of_group] += of_image
    return _rows(cells, groups, sums.reshape(3, -1, cells.number))


def whole_effect(effect: npt.NDArray[np.float32]) -> _Whole:
    """Convert effects to integers, multiples of QUANTUM, whose sums are exact; those below RESOLUTION are 0."""
    return np.where(np.abs(effect) >= RESOLUTION, effect / np.float64(QUANTUM), 0.0).astype(np.int64)


def whole_log_odds(effect: npt.NDArray[np.float32]) -> _Whole:
    """Convert effects in log-odds to integers, multiples of LOG_ODDS_QUANTUM, whose sums are exact."""
    finite = np.nan_to_num(effect.astype(np.float64)).clip(-_MOST_LOG_ODDS, _MOST_LOG_ODDS)
    return np.rint(finite / LOG_ODDS_QUANTUM).astype(np.int64)


def merged_sums(tables: _Tables, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Merge tables of sums, ordered by group and cell; independent of how the tables were split.

    Args:
        tables: gives their rows of some groups, or of all (None), as often as it is called: once for every
            SUMS_AT_ONCE sums.
        schema: from `sums_schema`.
    """
    cells = cells_of(schema)
    groups = np.unique(np.concatenate([np.zeros(0, np.int64), *(np.unique(table["group"]) for table in tables(None))]))
    step = max(1, ROW_GROUP // max(cells.number, 1))  # groups of which rows are made at a time
    for block, sums in group_blocks(tables, cells, groups):
        for some in (slice(start, start + step) for start in range(0, len(block), step)):
            yield _rows(cells, block[some], sums[:, some])


def group_blocks(tables: _Tables, cells: Cells, groups: _Whole) -> Iterator[tuple[_Whole, _Whole]]:
    """Iterate over blocks of groups with sums and image counts by cell, shape (3, G, C * U * K)."""
    width = cells.number
    high = max(1, SUMS_AT_ONCE // max(width, 1))
    for start in range(0, len(groups), high):
        block = groups[start : start + high]
        sums = np.zeros((3, len(block) * width), np.int64)
        for rows in tables(block):
            index = np.searchsorted(block, rows["group"].to_numpy()) * width + cells.places(rows)
            for added, name in zip(sums, ("total", LOG_ODDS_SUM, "images"), strict=True):
                np.add.at(added, index, rows[name].to_numpy())
        yield block, sums.reshape(3, len(block), width)


def cells_of(schema: pa.Schema) -> Cells:
    """Cells in the metadata of a table."""
    return Cells(*map(tuple, json.loads(schema.metadata[_CELLS.encode()])))


def read_cells(folder: Path) -> Cells:
    """Read the cells of a run's sums; errors as of `row_groups`."""
    return cells_of(read_schema(folder / SUMS))


def _rows(cells: Cells, groups: _Whole, sums: _Whole) -> pa.RecordBatch:
    """Rows of the measured cells from sums and counts, shape (3, G, C * U * K)."""
    group, cell = np.nonzero(sums[2])
    codes = np.unravel_index(cell, cells.shape)
    names = [
        pa.DictionaryArray.from_arrays(code.astype(np.int32), pa.array(list(names), pa.string()))
        for code, names in zip(codes, cells, strict=True)
    ]
    columns = dict(zip(CELL, names, strict=True))
    total, log_odds, images = sums[:, group, cell]
    numbers = {"images": images.astype(np.int32), "total": total, LOG_ODDS_SUM: log_odds}
    return pa.RecordBatch.from_pydict({"group": groups[group], **columns, **numbers}, schema=sums_schema(cells))
