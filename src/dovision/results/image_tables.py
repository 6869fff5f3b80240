"""Tables of images beside their effects: maps, boxes and masks, sources of interchanges, and refuters.

Rows of the maps come image by image; readers rely on the columns alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.results.tables import FLAG, INTEGER, NAME, NUMBER, NUMBERS, RunTable, read_schema, read_table, write_table
from dovision.types import BOX_COLUMNS, Mask

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
            "`explanation.single_deletion` further columns: rank correlations with the losses of single patches",
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
UNALTERED = "as it is"  # what the others are compared with
ALTERED = PLACEBO, OTHER_FILL, RANDOM_WEIGHTS = "placebo region", "unseen fill", "random weights"
REFUTERS_FILE = RunTable(
    "refuters.parquet",
    "with `refute=true`: a row per image, headline effect, refuter and unit, clean",
    keys=("sample", "headline", "refuter", "unit"),
    columns={
        "sample group": (INTEGER, "as in samples.parquet"),
        "headline": (NAME, 'the finding, such as "zone_effect"'),
        "refuter": (NAME, f'"{UNALTERED}", or what is altered: ' + ", ".join(f'"{name}"' for name in ALTERED)),
        "subject": (NAME, "the unit, mask or kind of object that the finding names"),
        "unit class": (NAME, 'as in effects.parquet; "true class" is that of each image'),
        "level": (pa.float64(), "of the intervals of the headline, the largest of several"),
        "effect": (NUMBER, "on P(class), minus the mean of control units where the headline is a difference to them"),
        "log_odds_effect": (NUMBER, "the same on log P / (1 - P)"),
    },
)
SOURCES_FILE = RunTable(
    "sources.parquet",
    "of an interchange with images of the split: a row per image, and the image that its values came from",
    keys=("sample",),
    columns={
        "sample source": (INTEGER, "the row in the split, and that of the source"),
        "label": (NAME, "the class of the source"),
    },
)
MOST, LEAST, RANDOM = "most", "least", "random"  # sets of ranked units: of most and least evidence, and a permutation
SETS_FILE = RunTable(
    "sets.parquet",
    "of cells, windows or segments: a row per set of them that was painted at once, in one do(): all that touch an "
    "object; and, of a few images, those of most and of least evidence, and random ones",
    keys=("sample", "condition", "set", "cells", "draw", "class"),
    columns={
        "sample": (INTEGER, "as in samples.parquet"),
        "condition set class": (NAME, f'names; a set is that of an object, or "{MOST}", "{LEAST}" or "{RANDOM}"'),
        "cells": (INTEGER, "units that are painted, or the area of as many"),
        "draw": (INTEGER, "0, or the number of the place or of the permutation that was drawn as a control"),
        "covered": (NUMBER, "the share of the object's box that is painted; null of controls and of ranked units"),
        "control treated effect log_odds_effect": (NUMBER, "as in effects.parquet"),
    },
)
_MASK = {
    "height width": (pa.int32(), "of the box of the unit, or of the image of the object, in pixels"),
    "pixels": (pa.binary(), "whether a pixel belongs to it, row by row, a bit each, the highest bit of a byte first"),
}
MASKS_FILE = RunTable(
    "masks.parquet",
    "where units touch a part of their box alone: a row per unit of the images of which a picture is saved",
    keys=("sample", "unit"),
    columns={
        "sample": (INTEGER, "as in effects.parquet"),
        "unit": (pa.string(), "as in effects.parquet"),
        **_MASK,
    },
)
OBJECT_MASKS_FILE = RunTable(
    "object_masks.parquet",
    "where the dataset has masks: a row per object of the images that maps are drawn of, or else of those pictured",
    keys=("sample", "object"),
    columns={
        "sample": (INTEGER, "the row in the split"),
        "object": (pa.string(), "the name of the mask; one that is a class's speaks for that class"),
        **_MASK,
    },
)
ObjectMasks = Mapping[int, Mapping[str, Mask]]  # by sample and object
UnitMasks = Mapping[tuple[int, str], Mask]  # by sample and unit


class MapGrid(NamedTuple):
    """Grid of the maps: cells, image size, and margin of the pointing game in pixels."""

    rows: int
    columns: int
    height: int
    width: int
    margin: float


def maps_schema(grid: MapGrid, reference: str, more: Mapping[str, pa.DataType] = MappingProxyType({})) -> pa.Schema:
    """Schema of maps.parquet with `more` columns; grid and reference explainer are in the metadata."""
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


def write_sources(folder: Path, sources: Iterable[tuple[int, int, str]]) -> None:
    """Write sources.parquet, from sample, source and the source's class; no file without sources."""
    _write(folder, SOURCES_FILE, sources)


def write_masks(folder: Path, masks: Iterable[tuple[int, str, Mask]]) -> None:
    """Write masks.parquet, from sample, unit and mask; no file without masks."""
    _write(folder, MASKS_FILE, ((sample, unit, *mask.shape, packed(mask)) for sample, unit, mask in masks))


def write_object_masks(folder: Path, masks: Iterable[tuple[int, Mapping[str, Mask]]]) -> None:
    """Write object_masks.parquet, from samples and their masks; no file without masks."""
    of_objects = ((sample, name, mask) for sample, by_name in masks for name, mask in by_name.items())
    _write(folder, OBJECT_MASKS_FILE, ((sample, name, *mask.shape, packed(mask)) for sample, name, mask in of_objects))


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


def _write(folder: Path, table: RunTable, values: Iterable[tuple[Any, ...]]) -> None:
    rows = pd.DataFrame(values, columns=table.schema().names)
    if len(rows):
        write_table(folder / table, table.schema(), [table.from_frame(rows)])


def _read(folder: Path, table: RunTable, samples: Collection[int] | None = None) -> UnitMasks:
    if not (folder / table).is_file():
        return {}
    masks = {}
    for row in read_table(folder / table, samples=samples).to_pylist():
        sample, name, height, width, pixels = row.values()
        bits = np.unpackbits(np.frombuffer(pixels, np.uint8), count=height * width)
        masks[sample, name] = bits.reshape(height, width).astype(bool)
    return masks
