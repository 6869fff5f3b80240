"""Each map of a run is held against boxes, true effects, itself, and the maps of other explainers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dovision.results.explanation_metrics import MAP_METRICS, agreements, object_regions, object_scores, sanity
from dovision.results.image_tables import MAPS_FILE, MapGrid, maps_schema, write_boxes
from dovision.results.tables import TableWriter
from dovision.types import BOX_COLUMNS, Box


def test_there_is_a_row_for_each_image_class_and_explainer_and_a_flagged_map_has_no_scores(map_run):
    frame = agreements(map_run)
    assert len(frame) == 3 * (24 + 18)  # every fourth film has no nodule
    assert not frame.duplicated(["sample", "class", "explainer"]).any()
    flagged = frame[frame["state"] != "ok"]
    (facts,) = flagged[["sample", "class", "explainer", "state"]].to_numpy().tolist()
    assert facts == [0, "opacity", "grad_cam", "zero"]
    assert flagged[list(MAP_METRICS)].isna().all(axis=None)


def test_an_empty_mask_hides_no_boxes():
    edges = dict(zip(Box._fields, [[2], [3], [9], [8]], strict=True))
    boxes = pd.DataFrame({"sample": [0], "object": ["nodule"], "label": ["nodule"], **edges})
    empty = np.zeros((32, 32), bool)
    assert object_regions(boxes, {0: {"nodule": empty}, 1: {"nodule": empty}}) == {(0, "nodule"): [Box(2, 3, 9, 8)]}


def test_objects_tell_share_area_and_density(map_run):
    frame = object_scores(map_run)
    assert set(frame["kind"]) == {"nodule", "opacity", "tag", "rib"}
    assert frame["area"].to_numpy() == pytest.approx(1 / 16)
    own = frame[(frame["explainer"] == "grad_cam") & (frame["label"] == frame["class"])]
    others = frame[(frame["explainer"] == "grad_cam") & (frame["label"] != frame["class"])]
    assert own["energy"].min() > others["energy"].max()


def test_a_class_without_a_box_is_not_scored_against_boxes(tmp_path, map_run):
    schema = maps_schema(MapGrid(2, 2, 8, 8, 0), "a")
    cells = {"cells": [1.0, 0.0, 0.0, 0.0], "state": "ok", "variant": "as is", "explainer": "a", "correct": True}
    rows = [{"sample": 0, "group": 0, "class": label, "deletion": 0.5, **cells} for label in ("nodule", "opacity")]
    with TableWriter(tmp_path / MAPS_FILE, schema) as table:
        table.write(pa.RecordBatch.from_pylist(rows, schema=schema))
    write_boxes(tmp_path, pd.DataFrame([(0, "nodule0", "nodule", 0, 0, 4, 4)], columns=BOX_COLUMNS))
    for name in ("samples.parquet", "effects.parquet"):
        (tmp_path / name).write_bytes((map_run / name).read_bytes())
    frame = agreements(tmp_path)
    assert frame[["pointing", "energy", "iou"]].to_numpy().tolist()[0] == [1, 1, 1]
    assert frame[["pointing", "energy", "iou"]].iloc[1].isna().all()
    assert frame["deletion"].tolist() == [0.5, 0.5]
    assert np.isnan(frame["stability"]).all()


def test_a_map_that_knows_the_classifier_changes_with_it_and_a_random_one_does_not(map_run):
    frame = sanity(map_run)
    assert list(dict.fromkeys(frame["variant"])) == [f"randomised {depth} of 3" for depth in (1, 2, 3)]
    assert list(dict.fromkeys(frame["explainer"])) == ["grad_cam", "effect_map", "random_map"]
    of = frame.groupby("explainer")
    assert of["mean"].max()["grad_cam"] < 0.4
    assert of["mean"].max()["grad_cam"] < of["low"].min()["random_map"]
    assert of["maps"].first().to_dict() == {"grad_cam": 9, "effect_map": 10, "random_map": 10}
