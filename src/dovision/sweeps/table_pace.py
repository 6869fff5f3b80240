"""The pace at which the tables of a job are joined and summarised at its end, measured on copies of some rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dovision.analysis.summary import summarise
from dovision.store.effect_sums import SUMS, merged_sums
from dovision.store.shards import Shards
from dovision.store.tables import EFFECTS, SAMPLES, read_schema, row_groups

_ROWS = 500_000  # of copies, about
_TURNS = 2  # of which the shorter one counts, since a disk may be busy
_MOST_IMAGES = 2_000  # of copies
_NUMBERED = ("sample", "group")  # columns that differ between copies


class TablePace(NamedTuple):
    """Seconds for each image once all are measured."""

    joined: float  # its rows are joined with the others, and summarised
    summed: float  # its sums are added up, each time that sums are read; 0 without a table of sums


def table_pace(folder: Path, clock: Callable[[], float]) -> TablePace:
    """The pace of the tables that a test has left in a folder.

    Args:
        folder: with samples.parquet, effects.parquet and perhaps effect_sums.parquet of some images.
        clock: seconds.
    """
    tables = {name: _rows(folder / name) for name in (EFFECTS, SAMPLES, SUMS) if (folder / name).is_file()}
    images = len(pc.unique(tables[SAMPLES]["sample"]))
    copies = max(2, min(_ROWS // max(1, sum(map(len, tables.values()))), _MOST_IMAGES // max(1, images)))
    _seconds(folder / "first", tables, 1, clock)  # what is imported and set up
    few, many = (_least(folder, tables, count, clock) for count in (1, copies))
    more = images * (copies - 1)
    return TablePace(*(max(0.0, after - before) / more for before, after in zip(few, many, strict=True)))


def _least(
    folder: Path, tables: dict[str, pa.RecordBatch], copies: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """The least of some turns of `_seconds`."""
    turns = [_seconds(folder / f"{copies}-{turn}", tables, copies, clock) for turn in range(_TURNS)]
    joined, summed = (min(times) for times in zip(*turns, strict=True))
    return joined, summed


def _seconds(
    folder: Path, tables: dict[str, pa.RecordBatch], copies: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Of joining and summarising, and of adding up sums, of copies of the rows."""
    stages = [_stage(folder, [EFFECTS, SAMPLES], tables, copies)]
    stages += [_stage(folder, [SUMS], tables, copies)] if SUMS in tables else []
    began = clock()
    for stage in stages[1:]:
        stage.join()
    summed = clock()
    stages[0].join()
    summarise(folder)
    return clock() - summed, summed - began


def _stage(folder: Path, names: Sequence[str], tables: dict[str, pa.RecordBatch], copies: int) -> Shards:
    """Finished shards, one a copy."""
    schemas = {name: tables[name].schema for name in names}
    shards = Shards(folder, names[0], schemas, 1, None, merged={SUMS: merged_sums})
    for copy in range(copies):
        shards.add(1, {name: _numbered(tables[name], copy) for name in names}, {})
    return shards


def _rows(path: Path) -> pa.RecordBatch:
    schema = read_schema(path)
    table = pa.concat_tables([schema.empty_table(), *row_groups(path)]).unify_dictionaries().combine_chunks()
    return table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], schema)


def _numbered(rows: pa.RecordBatch, copy: int) -> pa.RecordBatch:
    """The rows as those of other images of other groups."""
    for name in _NUMBERED:
        if name in rows.schema.names and len(rows):
            highest = pc.max(rows[name]).as_py()
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, rows.schema.field(place), pc.add(rows[name], copy * (highest + 1)))
    return rows
