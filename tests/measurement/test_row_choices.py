"""Rows of some classes alone are those of all, and averages are over all images whatever is kept."""

import pandas as pd
import pytest

import dovision as dv
from dovision.results.average_effect import average_effects
from dovision.results.effect_sums import CELL, SUMS
from dovision.results.summary import summarise
from dovision.results.tables import has_all_rows, read_row_choice
from tests.measurement.test_effects import SomeCells, assert_logged_is_the_tables, evaluate, read

EPS = (0.1, 0.25)
CLASSES = {  # of each sample, which has the pixels' sum 1.0, 1.0 and 0.1: bright if more than a half
    "named": [{"bright", "dark"}, {"bright"}, {"dark"}],  # the first one is dark once it is attacked
    "none": [set(), set(), set()],
}


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("cells", [dv.PixelGrid, SomeCells])
@pytest.mark.parametrize("rows", CLASSES)
def test_rows_are_a_filter_of_all_and_averages_are_the_same(tmp_path, cells, rows, tmp_path_factory):
    whole = tmp_path_factory.mktemp("all")
    logged = evaluate(whole, eps=EPS, cells=cells).logged
    evaluation = evaluate(tmp_path, eps=EPS, cells=cells, rows=rows)
    effects, found = (read(folder, "effects").astype(dict.fromkeys(CELL, str)) for folder in (whole, tmp_path))
    kept = [row["class"] in CLASSES[rows][row["sample"]] for _, row in effects.iterrows()]
    pd.testing.assert_frame_equal(found, effects[kept].reset_index(drop=True), check_exact=True)
    assert read_row_choice(tmp_path) == rows
    assert has_all_rows(whole) > has_all_rows(tmp_path)
    assert (tmp_path / SUMS).read_bytes() == (whole / SUMS).read_bytes()
    pd.testing.assert_frame_equal(average_effects(tmp_path), average_effects(whole), check_exact=True)
    assert summarise(tmp_path) == summarise(whole)
    assert evaluation.logged == pytest.approx(logged, abs=1e-12)
    assert_logged_is_the_tables(evaluation.logged, tmp_path)
