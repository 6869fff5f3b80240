"""Masks of units survive the table, whatever their size."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from dovision.results.unit_masks import masks_of, read_masks, write_masks

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


@given(st.integers(1, 9), st.integers(1, 20), st.integers(0, 2**16))
def test_every_mask_is_the_same_once_it_was_written(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    with tempfile.TemporaryDirectory() as folder:
        write_masks(Path(folder), [(0, "u", mask)])
        assert np.array_equal(read_masks(Path(folder))[0, "u"], mask)
