"""Rows of several conditions, brought into the order of the images."""

import pyarrow as pa

from dovision.store.sharding import by_sample


def rows(condition, samples):
    names = pa.array([condition] * len(samples)).dictionary_encode()
    return pa.RecordBatch.from_pydict({"sample": samples, "condition": names})


def test_rows_go_image_by_image_and_condition_by_condition_within_an_image():
    clean = [rows("clean", [7, 7]), rows("clean", [8, 8])]
    attacked = [rows("eps=0.1", [7, 7, 8, 8])]
    ordered = by_sample([clean, attacked], images=2).to_pydict()
    assert ordered["sample"] == [7, 7, 7, 7, 8, 8, 8, 8]
    assert ordered["condition"] == ["clean", "clean", "eps=0.1", "eps=0.1"] * 2
