"""The maps and boxes of a run come back as they were written."""

import numpy as np
import pandas as pd
import pyarrow as pa

from dovision.results.image_tables import MAPS_FILE, MapGrid, maps_schema, masks_of, read_maps, read_masks, write_masks
from dovision.results.tables import write_table

ROW = {"sample": 3, "group": 1, "explainer": "grad_cam", "class": "disease", "variant": "as is", "correct": True}
ROW |= {"state": "ok", "cells": np.array([0.5, -1.0], np.float32), "spread": None, "deletion": 0.25, "insertion": None}


def test_a_map_comes_back_with_its_names_as_text_and_its_cells_as_an_array(tmp_path):
    rows, schema = [ROW, ROW | {"explainer": "edge_map", "sample": 4}], maps_schema(MapGrid(1, 2, 32, 40, 2.5), "a")
    write_table(tmp_path / MAPS_FILE, schema, [pa.RecordBatch.from_pylist(rows, schema=schema)])
    frame = read_maps(tmp_path)
    assert frame["explainer"].tolist() == ["grad_cam", "edge_map"]
    assert frame["cells"][0].tolist() == [0.5, -1.0]
    assert frame["deletion"][0] == 0.25
    assert np.isnan(frame["insertion"][0])


L_SHAPE = np.array([[1, 0], [1, 0], [1, 1]], dtype=bool)


def test_masks_are_found_again_by_sample_and_unit(tmp_path):
    wide = np.random.default_rng(0).random((5, 13)) < 0.5
    write_masks(tmp_path, [(3, "s0", L_SHAPE), (3, "s1", wide), (7, "s0", ~L_SHAPE)])
    found = read_masks(tmp_path)
    assert set(found) == {(3, "s0"), (3, "s1"), (7, "s0")}
    for key, mask in {(3, "s0"): L_SHAPE, (3, "s1"): wide, (7, "s0"): ~L_SHAPE}.items():
        assert found[key].dtype == bool
        assert np.array_equal(found[key], mask)
    rows = pd.DataFrame({"sample": [7, 7], "unit": ["s1", "s0"]})
    nothing, mask = masks_of(rows, found)
    assert nothing is None
    assert np.array_equal(mask, ~L_SHAPE)
