"""The two tables of a run that explains: its maps, all on one grid of cells, and the boxes that they are held against.

Rows of the maps come image by image; readers rely on the columns alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from dovision.results.tables import FLAG, INTEGER, NAME, NUMBER, NUMBERS, RunTable, read_schema, write_table
from dovision.types import BOX_COLUMNS

AS_IS = "as is"  # the variant of the map that is shown and judged
PERTURBED = "perturbed"  # of the image with a little noise
HARD, SOFT, CONTENT = "single_deletion", "single_deletion_soft", "single_deletion_content"  # columns, by edge
RANDOMISED = "randomised "  # "randomised k of n": of the classifier with k of its n uppermost layers randomised


MAPS_FILE = RunTable(
    "maps.parquet",
    "with explainers: a row per map, on one grid of cells, and how it was judged",
    keys=("sample", "class", "explainer", "variant"),
    columns={
        "sample group": (INTEGER, "the row in the split, the patient"),
        "explainer class": (NAME, "whose map it is, and the class that it speaks for"),
        "variant": (NAME, '"as is", "perturbed", "randomised 1 of 3", ...'),
        "correct": (FLAG, "whether the classifier is right about that class on that image; null without a label"),
        "state": (NAME, '"ok", "zero" (no positive cell) or "not finite"'),
        "cells": (NUMBERS, "the map: rows * columns area means, row by row"),
        "spread": (
            NUMBERS,
            "the standard deviation over the maps of which the map is the mean, cell by cell, as of several "
            'interventions; null where it is one map, and but for "as is"',
        ),
        "deletion insertion": (
            NUMBER,
            'areas under the curves of the class probability, in [0, 1]; null but for "as is". With '
            "`explanation.single_deletion` three more columns: rank correlations with the losses of single patches",
        ),
    },
)
BOXES_FILE = RunTable(
    "boxes.parquet",
    "a row per object of the images that has a box",
    keys=("sample", "object", "top", "left", "bottom", "right"),
    columns={
        "sample": (INTEGER, "the row in the split, of those that are evaluated"),
        "object label": (pa.string(), "the name of the object, and the class that it speaks for, or null"),
        "top left bottom right": (pa.int32(), "its box, in pixels of the image"),
    },
)


class MapGrid(NamedTuple):
    """Grid of the maps: cells, image size, and margin of the pointing game in pixels."""

    rows: int
    columns: int
    height: int
    width: int
    margin: float


def maps_schema(
    rows: int,
    columns: int,
    height: int,
    width: int,
    margin: float,
    reference: str,
    more: Mapping[str, pa.DataType] = MappingProxyType({}),
) -> pa.Schema:
    """Schema of maps.parquet with `more` columns; grid and reference explainer are in the metadata."""
    grid = MapGrid(rows, columns, height, width, margin)
    metadata = {**{name: f"{value:g}" for name, value in grid._asdict().items()}, "reference": reference}
    return MAPS_FILE.schema(metadata, dict(more))


def read_maps(folder: Path) -> pd.DataFrame:
    """Read maps.parquet, names as text, `cells` and `spread` (or None) as arrays, shape (rows * columns,).

    Errors are those of `tables.read_table`.
    """
    return MAPS_FILE.read(folder)


def read_grid(folder: Path) -> MapGrid:
    """Read the grid of maps.parquet; errors as of `tables.read_table`."""
    metadata = read_schema(folder / MAPS_FILE).metadata
    rows, columns, height, width, margin = (float(metadata[name.encode()]) for name in MapGrid._fields)
    return MapGrid(int(rows), int(columns), int(height), int(width), margin)


def read_reference(folder: Path) -> str:
    """Read the reference explainer of maps.parquet; errors as of `tables.read_table`."""
    return read_schema(folder / MAPS_FILE).metadata[b"reference"].decode()


def write_boxes(folder: Path, boxes: pd.DataFrame) -> None:
    """Write boxes.parquet, from rows of `Images.boxes`."""
    write_table(folder / BOXES_FILE, BOXES_FILE.schema(), [BOXES_FILE.from_frame(boxes)])


def read_box_table(folder: Path) -> pd.DataFrame:
    """Read boxes.parquet; `label` is None for objects without a class; empty if the run has no such file."""
    if not (folder / BOXES_FILE).is_file():
        return pd.DataFrame(columns=BOX_COLUMNS)
    boxes = BOXES_FILE.read(folder)
    return boxes.assign(label=boxes["label"].astype(object).where(boxes["label"].notna(), None))
