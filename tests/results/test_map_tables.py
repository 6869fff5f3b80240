"""The maps and boxes of a run come back as they were written."""

import numpy as np
import pyarrow as pa

from dovision.results.map_tables import (
    MAPS_FILE,
    maps_schema,
    read_maps,
)
from dovision.results.tables import write_table

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
