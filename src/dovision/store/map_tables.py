"""The two tables of a run that explains: its maps, all on one grid of cells, and the boxes that they are held against.

Rows of the maps come image by image; readers rely on the columns alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dovision.store.tables import METADATA, NAME, TableWriter, row_groups
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


def maps_schema(rows: int, columns: int, height: int, width: int, margin: float) -> pa.Schema:
    """Columns of maps.parquet, a row per (sample, class, explainer, variant); the arguments travel as its metadata.

    sample, group           the row in the split, the patient
    explainer, class        whose map it is, and the class that it speaks for
    variant                 "as is", "perturbed", "randomised 1 of 3", ..., "permuted labels"
    correct                 whether the classifier is right about that class on that image
    state                   "ok", "zero" (no positive cell) or "not finite"
    cells                   the map: rows * columns area means, row by row
    deletion, insertion     areas under the curves of the class probability, in [0, 1]; null but for "as is"
    """
    grid = MapGrid(rows, columns, height, width, margin)
    fields = {"sample": pa.int64(), "group": pa.int64(), **dict.fromkeys(("explainer", "class", "variant"), NAME)}
    fields |= {"correct": pa.bool_(), "state": NAME, "cells": pa.list_(pa.float32())}
    fields |= dict.fromkeys(("deletion", "insertion"), pa.float32())
    return pa.schema(fields, metadata=METADATA | {name: f"{value:g}" for name, value in grid._asdict().items()})


def boxes_schema() -> pa.Schema:
    """Columns of boxes.parquet, a row per (sample, object) of the samples explained: those of `Images.boxes`."""
    fields = {"sample": pa.int64(), "object": pa.string(), "label": pa.string()}
    fields |= dict.fromkeys(("top", "left", "bottom", "right"), pa.int32())
    return pa.schema({name: fields[name] for name in BOX_COLUMNS}, metadata=METADATA)


def read_maps(folder: Path) -> pd.DataFrame:
    """maps.parquet, with names as text and `cells` as arrays of shape (rows * columns,).

    Raises:
        FileNotFoundError, ValueError: the table is missing, damaged or of another format.
    """
    names = ("explainer", "class", "variant", "state")
    return _whole(folder / MAPS_FILE, maps_schema(1, 1, 1, 1, 0)).astype(dict.fromkeys(names, str))


def read_grid(folder: Path) -> MapGrid:
    """The grid on which the maps of maps.parquet lie.

    Raises:
        FileNotFoundError, ValueError: the table is missing, damaged or of another format.
    """
    next(row_groups(folder / MAPS_FILE, ["sample"]), None)  # the checks
    metadata = pq.read_schema(folder / MAPS_FILE).metadata
    rows, columns, height, width, margin = (float(metadata[name.encode()]) for name in MapGrid._fields)
    return MapGrid(int(rows), int(columns), int(height), int(width), margin)


def write_boxes(folder: Path, boxes: pd.DataFrame) -> None:
    """Write boxes.parquet, from rows of `Images.boxes`."""
    with TableWriter(folder / BOXES_FILE, boxes_schema()) as table:
        for rows in pa.Table.from_pandas(boxes, boxes_schema(), preserve_index=False).to_batches():
            table.write(rows)


def read_box_table(folder: Path) -> pd.DataFrame:
    """boxes.parquet; `label` is None where an object speaks for no class.

    Raises:
        FileNotFoundError, ValueError: the table is missing, damaged or of another format.
    """
    frame = _whole(folder / BOXES_FILE, boxes_schema())
    return frame.assign(label=frame["label"].astype(object).where(frame["label"].notna(), None))


def _whole(path: Path, schema: pa.Schema) -> pd.DataFrame:
    tables = list(row_groups(path))
    return (pa.concat_tables(tables) if tables else schema.empty_table()).to_pandas()
