"""Tables of masks: of units, of the images of which a picture is saved, and of known objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.results.tables import INTEGER, RunTable, read_table, write_table
from dovision.types import Mask

_SHAPE = {"height width": (pa.int32(), "of the box of the unit, or of the image of the object, in pixels")}
_PIXELS = "whether a pixel belongs to it, row by row, a bit each, the highest bit of a byte first"
MASKS_FILE = RunTable(
    "masks.parquet",
    "where units touch a part of their box alone: a row per unit of the images of which a picture is saved",
    keys=("sample", "unit"),
    columns={
        "sample": (INTEGER, "as in effects.parquet"),
        "unit": (pa.string(), "as in effects.parquet"),
        **_SHAPE,
        "pixels": (pa.binary(), _PIXELS),
    },
)
OBJECT_MASKS_FILE = RunTable(
    "object_masks.parquet",
    "where the dataset has masks: a row per object of the images that maps are drawn of, or else of those pictured",
    keys=("sample", "object"),
    columns={
        "sample": (INTEGER, "the row in the split"),
        "object": (pa.string(), "the name of the mask; one that is a class's speaks for that class"),
        **_SHAPE,
        "pixels": (pa.binary(), _PIXELS),
    },
)
ObjectMasks = Mapping[int, Mapping[str, Mask]]  # by sample and object
UnitMasks = Mapping[tuple[int, str], Mask]  # by sample and unit


def write_masks(folder: Path, masks: Iterable[tuple[int, str, Mask]]) -> None:
    """Write masks.parquet, from sample, unit and mask; no file without masks."""
    _write(folder, MASKS_FILE, masks)


def write_object_masks(folder: Path, masks: Iterable[tuple[int, Mapping[str, Mask]]]) -> None:
    """Write object_masks.parquet, from samples and their masks; no file without masks."""
    _write(
        folder,
        OBJECT_MASKS_FILE,
        ((sample, *named) for sample, masks_by_name in masks for named in masks_by_name.items()),
    )


def read_masks(folder: Path) -> UnitMasks:
    """Read masks.parquet; empty if the run has none; errors as of `tables.read_table`."""
    return _read(folder, MASKS_FILE)


def read_object_masks(folder: Path, samples: Collection[int] | None = None) -> ObjectMasks:
    """Read object_masks.parquet for some samples or all; empty if the run has none.

    Errors are those of `tables.read_table`.
    """
    masks: defaultdict[int, dict[str, Mask]] = defaultdict(dict)
    for (sample, name), mask in _read(folder, OBJECT_MASKS_FILE, samples).items():
        masks[sample][name] = mask
    return dict(masks)


def masks_of(rows: pd.DataFrame, masks: UnitMasks) -> list[Mask | None]:
    """Mask of each row's sample and unit; None if the whole box is touched."""
    return [masks.get(key) for key in zip(rows["sample"], rows["unit"], strict=True)]


def packed(mask: Mask) -> bytes:
    """Pack a mask row by row, a bit per pixel, highest bit first."""
    return np.packbits(mask).tobytes()


def _write(folder: Path, table: RunTable, masks: Iterable[tuple[int, str, Mask]]) -> None:
    schema = table.schema()
    values = [(sample, name, *mask.shape, packed(mask)) for sample, name, mask in masks]
    if values:
        rows = [dict(zip(schema.names, row, strict=True)) for row in values]
        write_table(folder / table, schema, [pa.RecordBatch.from_pylist(rows, schema)])


def _read(folder: Path, table: RunTable, samples: Collection[int] | None = None) -> UnitMasks:
    if not (folder / table).is_file():
        return {}
    masks = {}
    for row in read_table(folder / table, samples=samples).to_pylist():
        sample, name, height, width, pixels = row.values()
        bits = np.unpackbits(np.frombuffer(pixels, np.uint8), count=height * width)
        masks[sample, name] = bits.reshape(height, width).astype(bool)
    return masks
