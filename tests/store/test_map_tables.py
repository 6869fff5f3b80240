"""The maps and boxes of a run come back as they were written."""

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.store.map_tables import (
    MAPS_FILE,
    maps_schema,
    read_box_table,
    read_grid,
    read_maps,
    write_boxes,
)
from dovision.store.tables import write_table
from dovision.types import BOX_COLUMNS

ROW = {
    "sample": 3,
    "group": 1,
    "explainer": "grad_cam",
    "class": "disease",
    "variant": "as is",
    "correct": True,
    "state": "ok",
    "cells": np.array([0.5, -1.0], np.float32),
    "spread": None,
    "deletion": 0.25,
    "insertion": None,
}


def write(folder, rows, **grid):
    schema = maps_schema(
        **({"rows": 1, "columns": 2, "height": 32, "width": 40, "margin": 2.5, "reference": "a"} | grid)
    )
    write_table(folder / MAPS_FILE, schema, [pa.RecordBatch.from_pylist(rows, schema=schema)])


def test_a_map_comes_back_with_its_names_as_text_and_its_cells_as_an_array(tmp_path):
    write(tmp_path, [ROW, ROW | {"explainer": "edge_map", "sample": 4}])
    frame = read_maps(tmp_path)
    assert frame["explainer"].tolist() == ["grad_cam", "edge_map"]
    assert frame["cells"][0].tolist() == [0.5, -1.0]
    assert frame["deletion"][0] == 0.25
    assert np.isnan(frame["insertion"][0])


def test_the_grid_travels_with_the_table(tmp_path):
    write(tmp_path, [ROW])
    assert read_grid(tmp_path) == (1, 2, 32, 40, 2.5)


def test_a_table_without_rows_has_its_columns_and_grid(tmp_path):
    write(tmp_path, [])
    assert list(read_maps(tmp_path)) == list(ROW)
    assert read_grid(tmp_path).width == 40


def test_a_box_without_a_label_has_none_and_no_boxes_are_a_table_too(tmp_path):
    write_boxes(tmp_path, pd.DataFrame(columns=BOX_COLUMNS))
    assert list(read_box_table(tmp_path)) == BOX_COLUMNS
    boxes = [(0, "nodule0", "nodule", 1, 2, 3, 4), (0, "tag", None, 5, 6, 7, 8)]
    write_boxes(tmp_path, pd.DataFrame(boxes, columns=BOX_COLUMNS))
    frame = read_box_table(tmp_path)
    assert frame["label"].tolist() == ["nodule", None]
    assert [tuple(row) for row in frame[["top", "left", "bottom", "right"]].to_numpy()] == [(1, 2, 3, 4), (5, 6, 7, 8)]
