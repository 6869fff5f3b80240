"""Tables of masks: of units, of the images of which a picture is saved, and of known objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.store.tables import METADATA, read_table, write_table
from dovision.types import Mask

MASKS_FILE = "masks.parquet"
OBJECT_MASKS_FILE = "object_masks.parquet"
ObjectMasks = Mapping[int, Mapping[str, Mask]]  # by sample and object
UnitMasks = Mapping[tuple[int, str], Mask]  # by sample and unit


def masks_schema() -> pa.Schema:
    """Columns of masks.parquet, a row per (sample, unit) of a unit that touches a part of its box.

    sample, unit    as in effects.parquet
    height, width   of the unit's box, in pixels
    pixels          whether each pixel of the box is touched, row by row, a bit each, the highest bit of a byte first
    """
    return _schema("unit")


def write_masks(folder: Path, masks: Iterable[tuple[int, str, Mask]]) -> None:
    """Write masks.parquet, from sample, unit and mask; no file where there is none."""
    _write(folder / MASKS_FILE, masks_schema(), masks)


def read_masks(folder: Path) -> UnitMasks:
    """The masks of masks.parquet; none where a run has no such file; errors as those of `tables.read_table`."""
    if not (folder / MASKS_FILE).is_file():
        return {}
    rows = read_table(folder / MASKS_FILE).to_pylist()
    return {(row["sample"], row["unit"]): _unpacked(row["pixels"], row["height"], row["width"]) for row in rows}


def masks_of(rows: pd.DataFrame, masks: UnitMasks) -> list[Mask | None]:
    """The mask of each row's sample and unit; None where all of the box is touched."""
    return [masks.get(key) for key in zip(rows["sample"], rows["unit"], strict=True)]


def object_masks_schema() -> pa.Schema:
    """Columns of object_masks.parquet, a row per (sample, object) with a mask: those of `Images.masks`.

    sample, object  the row in the split, the name of the mask; one that is a class's speaks for that class
    height, width   of the image, in pixels
    pixels          whether each pixel belongs to the object, as in masks.parquet
    """
    return _schema("object")


def write_object_masks(folder: Path, masks: Iterable[tuple[int, Mapping[str, Mask]]]) -> None:
    """Write object_masks.parquet, from samples and their masks; no file where there is none."""
    each = ((sample, name, mask) for sample, own in masks for name, mask in own.items())
    _write(folder / OBJECT_MASKS_FILE, object_masks_schema(), each)


def read_object_masks(folder: Path, samples: Collection[int] | None = None) -> ObjectMasks:
    """The masks of object_masks.parquet, of some samples or of all; none where a run has no such file.

    Errors are those of `tables.read_table`.
    """
    found: defaultdict[int, dict[str, Mask]] = defaultdict(dict)
    if (folder / OBJECT_MASKS_FILE).is_file():
        for row in read_table(folder / OBJECT_MASKS_FILE).to_pylist():
            if samples is None or row["sample"] in samples:
                found[row["sample"]][row["object"]] = _unpacked(row["pixels"], row["height"], row["width"])
    return dict(found)


def packed(mask: Mask) -> bytes:
    """The mask row by row, a bit a pixel, the highest bit of a byte first."""
    return np.packbits(mask).tobytes()


def _schema(kind: str) -> pa.Schema:
    columns = {"sample": pa.int64(), kind: pa.string(), "height": pa.int32(), "width": pa.int32()}
    return pa.schema({**columns, "pixels": pa.binary()}, metadata=METADATA)


def _write(path: Path, schema: pa.Schema, masks: Iterable[tuple[int, str, Mask]]) -> None:
    values = ((sample, name, *mask.shape, packed(mask)) for sample, name, mask in masks)
    rows = [dict(zip(schema.names, each, strict=True)) for each in values]
    if rows:
        write_table(path, schema, [pa.RecordBatch.from_pylist(rows, schema)])


def _unpacked(pixels: bytes, height: int, width: int) -> Mask:
    bits = np.unpackbits(np.frombuffer(pixels, np.uint8), count=height * width)
    return bits.reshape(height, width).astype(bool)
