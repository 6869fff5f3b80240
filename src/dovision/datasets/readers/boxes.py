"""Boxes in a table: any of the usual four columns, in pixels of the images' files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.datasets.readers.manifest import Manifest, cell_numbers
from dovision.functional import geometry
from dovision.types import COVER, SOURCE_BOXES, Box, Resize, Shape

_CORNERS = (
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
)
_SIZES = (
    ("left", "top", "width", "height"),
    ("x", "y", "width", "height"),
    ("x", "y", "w", "h"),
    ("Bbox [x", "y", "w", "h]"),  # of the NIH's table
)
BOX_LAYOUTS = (*_CORNERS, *_SIZES)
BOX_FIELDS = ["row", "object", "label", "top", "left", "bottom", "right"]  # of `file_boxes`, in pixels of the file


def box_columns(manifest: Manifest) -> tuple[str, ...] | None:
    """Names of a table's four box columns; None if it has none."""
    return next((names for names in BOX_LAYOUTS if set(names) <= set(manifest.cells)), None)


def file_boxes(
    manifest: Manifest,
    records: pd.DataFrame,
    names: pd.Series[str],
    labels: pd.Series[str],
    classes: Sequence[str],
) -> pd.DataFrame:
    """Read a row per box: row, object, label, and top, left, bottom, right to the nearest pixel of the file.

    A table's row without any of the four numbers has no box. An object is named after its label, with a number from 2
    on where the image has several of it; one of a label that is no class speaks for none.

    Args:
        manifest: the table of boxes.
        records: name, height and width of each image's file; `row` is its place among them.
        names: of each of the table's rows, the image.
        labels: of each of the table's rows; an empty one is named "object".
        classes: those that a box may speak for.

    Raises:
        ValueError: there are no such columns; a box has some of four numbers, no size, or lies outside its image.
    """
    columns = box_columns(manifest)
    if columns is None:
        layouts = "; ".join(", ".join(layout) for layout in BOX_LAYOUTS)
        raise ValueError(f"{manifest.path} must have the four columns of a box, one of {layouts}; got none of these.")
    edges = np.stack([cell_numbers(manifest, column, "a number of pixels") for column in columns], axis=1)
    for index, column in enumerate(columns):
        some = np.isfinite(edges).any(1) & ~np.isfinite(edges[:, index])
        manifest.refuse(column, some, "a number of pixels, as the box's other numbers are")
    given = np.isfinite(edges).all(1)
    if columns in _SIZES:
        edges[:, 2:] += edges[:, :2]
    image = pd.Index(records["name"]).get_indexer(names)  # -1: of an image that is not used
    size = np.vstack([records[["height", "width"]].to_numpy(np.float64), [np.inf, np.inf]])[image]
    _check(manifest, columns, edges, size, given & (image >= 0))
    boxes = pd.DataFrame({"row": image, "label": labels.to_numpy()}, dtype=object)
    boxes["object"] = boxes["label"].where(boxes["label"] != "", "object")
    boxes["label"] = pd.Series([one if one in classes else None for one in boxes["label"]], dtype=object)
    boxes[["left", "top", "right", "bottom"]] = edges
    boxes = boxes[given & (image >= 0)].reset_index(drop=True)
    number = boxes.groupby(["row", "object"]).cumcount() + 1
    boxes["object"] += number.astype(str).where(number > 1, "")
    for edge in Box._fields:
        boxes[edge] = boxes[edge].astype(float).round().astype(np.int64)
    return boxes[BOX_FIELDS]


def fitted_boxes(
    boxes: pd.DataFrame, sizes: Sequence[tuple[int, int]], shape: Shape, resize: Resize = COVER
) -> pd.DataFrame:
    """Map boxes of files to the dataset's images; those outside the cropped centre are left out."""
    rows = []
    for row, obj, label, *edges in boxes[BOX_FIELDS].itertuples(index=False):
        box = geometry.fit_box(Box(*edges), geometry.central_fit(sizes[row][0], sizes[row][1], shape, resize))
        if box.area:
            rows.append((row, obj, label, *box))
    return pd.DataFrame(rows, columns=SOURCE_BOXES)


def _check(
    manifest: Manifest,
    columns: Sequence[str],
    edges: npt.NDArray[np.float64],
    size: npt.NDArray[np.float64],
    given: npt.NDArray[np.bool_],
) -> None:
    if given.any() and (edges[given] <= 1).all():
        manifest.refuse(
            columns[2], given, "in pixels of the files", "All boxes lie in [0, 1], as shares of the image do."
        )
    for axis, (start, end) in enumerate(((0, 2), (1, 3))):
        length = size[:, 1 - axis]
        empty = given & ~(edges[:, end] > edges[:, start])
        manifest.refuse(columns[end], empty, f"above {'0' if columns in _SIZES else columns[start]}")
        thin = given & ~(np.rint(edges[:, end]) > np.rint(edges[:, start]))
        manifest.refuse(columns[end], thin, "such that the box has a pixel", "Give boxes in pixels of the files.")
        for edge, outside in ((start, edges[:, start] < -1), (end, edges[:, end] > length + 1)):
            wrong = np.flatnonzero(given & outside)
            if len(wrong):
                height, width = (int(edge_length) for edge_length in size[wrong[0]])
                rule = f"inside its image, {height} x {width} pixels"
                manifest.refuse(columns[edge], given & outside, rule, "Give boxes in pixels of the files.")
