"""`rows` of `dv.effects` has the meaning of `evaluation.rows`: fewer rows, the same averages."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

import dovision as dv
from dovision.store.tables import read_row_choice

SAMPLES = range(12)


def measured(**settings) -> dv.MeasuredEffects:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    data = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    return dv.effects(dv.wrap(network, ["a", "b", "c"]), data, dv.PixelGrid(2, 2), "fgsm", "16/255", **settings)


@pytest.fixture(scope="module")
def every():
    return measured()


def classes(found) -> dict[int, set[str]]:
    rows = found.rows(SAMPLES)
    assert len(rows.drop_duplicates(["sample", "class"])) * 8 == len(rows)  # the same classes in each condition
    return rows.groupby("sample")["class"].agg(set).to_dict()


@pytest.mark.parametrize("rows", ["named", "none"])
def test_rows_are_fewer_and_averages_the_same(every, rows):
    found = measured(rows=rows)
    names = list("abc")
    labels = {sample: {names[sample % 3]} for sample in SAMPLES}
    samples = every.samples
    predicted = samples.groupby("sample")["prediction"].agg(lambda each: {names[own] for own in each}).to_dict()
    expected = {
        "named": {sample: predicted[sample] | labels[sample] for sample in SAMPLES},
        "none": {},
    }
    assert classes(found) == expected[rows]
    assert read_row_choice(found.folder) == rows
    pd.testing.assert_frame_equal(found.to_pandas(), every.to_pandas(), check_exact=True)
    if rows == "named":
        assert found.findings == every.findings


def test_without_rows_the_figures_of_averages_are_left():
    found = measured(rows="none")
    assert "average_effects" in found.figures
    assert not {"overlay", "gallery"} & set(found.figures)
    assert "<img" in found._repr_html_()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": "top"}, "rows must be one of all, named, none, got 'top'"),
    ],
)
def test_what_cannot_be_kept_is_refused(settings, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        measured(**settings)
