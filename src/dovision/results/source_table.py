"""The table of a run that interchanges with images of its split: which image each sample's values came from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from dovision.results.tables import INTEGER, NAME, RunTable, write_table

SOURCES_FILE = RunTable(
    "sources.parquet",
    "of an interchange with images of the split: a row per image, and the image that its values came from",
    keys=("sample",),
    columns={
        "sample source": (INTEGER, "the row in the split, and that of the source"),
        "label": (NAME, "the class of the source"),
    },
)


def write_sources(folder: Path, sources: Iterable[tuple[int, int, str]]) -> None:
    """Write sources.parquet, from sample, source and the source's class; no file without sources."""
    rows = [dict(zip(("sample", "source", "label"), row, strict=True)) for row in sources]
    if rows:
        schema = SOURCES_FILE.schema()
        write_table(folder / SOURCES_FILE, schema, [pa.Table.from_pylist(rows, schema=schema)])
