"""The two tables of a run that explains: its maps, all on one grid of cells, and the boxes that they are held against.

Rows of the maps come image by image; readers rely on the columns alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from dovision.store.tables import METADATA, NAME, read_schema, read_table, write_table
from dovision.types import BOX_COLUMNS

MAPS_FILE = "maps.parquet"
BOXES_FILE = "boxes.parquet"
AS_IS = "as is"  # the variant of the map that is shown and judged
PERTURBED = "perturbed"  # of the image with a little noise
PERMUTED = "permuted labels"  # of a classifier fitted to permuted labels
RANDOMISED = "randomised "  # "randomised k of n": of the classifier with k of its n uppermost layers randomised


class MapGrid(NamedTuple):
    """The cells of the maps, the pixels of the images, and the margin of the pointing game in pixels."""

    rows: int
    columns: int
    height: int
    width: int
    margin: float


def maps_schema(rows: int, columns: int, height: int, width: int, margin: float, reference: str) -> pa.Schema:
    """Columns of maps.parquet, a row per (sample, class, explainer, variant); the arguments travel as its metadata.

    sample, group           the row in the split, the patient
    explainer, class        whose map it is, and the class that it speaks for
    variant                 "as is", "perturbed", "randomised 1 of 3", ..., "permuted labels"
    correct                 whether the classifier is right about that class on that image; null without a label
    state                   "ok", "zero" (no positive cell) or "not finite"
    cells                   the map: rows * columns area means, row by row
    spread                  the standard deviation over the maps of which the map is the mean, cell by cell, as of
                            several interventions; null where it is one map, and but for "as is"
    deletion, insertion     areas under the curves of the class probability, in [0, 1]; null but for "as is"
    """
    grid = MapGrid(rows, columns, height, width, margin)
    fields = {"sample": pa.int64(), "group": pa.int64(), **dict.fromkeys(("explainer", "class", "variant"), NAME)}
    fields |= {"correct": pa.bool_(), "state": NAME, "cells": pa.list_(pa.float32()), "spread": pa.list_(pa.float32())}
    fields |= dict.fromkeys(("deletion", "insertion"), pa.float32())
    settings = {name: f"{value:g}" for name, value in grid._asdict().items()}
    return pa.schema(fields, metadata=METADATA | settings | {"reference": reference})


def boxes_schema() -> pa.Schema:
    """Columns of boxes.parquet, a row per (sample, object) of the samples explained: those of `Images.boxes`."""
    kinds = [pa.int64(), pa.string(), pa.string(), *[pa.int32()] * 4]
    return pa.schema(list(zip(BOX_COLUMNS, kinds, strict=True)), metadata=METADATA)


def read_maps(folder: Path) -> pd.DataFrame:
    """maps.parquet, names as text, `cells` and `spread` (or None) as arrays, shape (rows * columns,).

    Errors are those of `tables.read_table`.
    """
    names = ("explainer", "class", "variant", "state")
    return read_table(folder / MAPS_FILE).to_pandas().astype(dict.fromkeys(names, str))


def read_grid(folder: Path) -> MapGrid:
    """The grid on which the maps of maps.parquet lie; errors as those of `tables.read_table`."""
    metadata = read_schema(folder / MAPS_FILE).metadata
    rows, columns, height, width, margin = (float(metadata[name.encode()]) for name in MapGrid._fields)
    return MapGrid(int(rows), int(columns), int(height), int(width), margin)


def read_reference(folder: Path) -> str:
    """The explainer that the others of maps.parquet are compared with; errors as those of `tables.read_table`."""
    return read_schema(folder / MAPS_FILE).metadata[b"reference"].decode()


def write_boxes(folder: Path, boxes: pd.DataFrame) -> None:
    """Write boxes.parquet, from rows of `Images.boxes`."""
    rows = pa.Table.from_pandas(boxes, boxes_schema(), preserve_index=False)
    write_table(folder / BOXES_FILE, boxes_schema(), [rows])


def read_box_table(folder: Path) -> pd.DataFrame:
    """boxes.parquet; `label` is None where an object speaks for no class; errors as those of `tables.read_table`."""
    boxes = read_table(folder / BOXES_FILE).to_pandas()
    return boxes.assign(label=boxes["label"].astype(object).where(boxes["label"].notna(), None))


def known_boxes(folder: Path) -> pd.DataFrame:
    """boxes.parquet as `read_box_table` gives it; no rows where a run has no such file."""
    return read_box_table(folder) if (folder / BOXES_FILE).is_file() else pd.DataFrame(columns=BOX_COLUMNS)
