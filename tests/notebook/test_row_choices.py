"""`rows` of `dv.effects` has the meaning of `evaluation.rows`, with the same averages; results of one image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch

import dovision as dv
from dovision.results.tables import read_row_choice

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
    assert not {"overlay"} & set(found.figures)
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


CALLS: dict[str, Callable[..., Any]] = {
    "effects, clean": lambda *given: dv.effects(*given, dv.PixelGrid(2, 2)),
    "effects, attacked": lambda *given: dv.effects(*given, dv.PixelGrid(2, 2), attack="fgsm", eps=["1/255", 0.9]),
    "attack": lambda *given: dv.attack(*given, "pgd", eps="8/255"),
    "explain": lambda *given: dv.explain(*given, "integrated_gradients"),
}


@pytest.mark.parametrize("call", CALLS)
def test_one_image_has_tables_sentences_and_figures(call):
    torch.manual_seed(0)
    classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
    found = CALLS[call](classifier, (torch.rand(1, 1, 8, 8), torch.tensor([1])))
    assert len(found.to_pandas()) > 0
    assert "<table" in found._repr_html_()
    assert all(isinstance(sentence, str) for sentence in found.findings)
    found.plot()


def test_results_of_too_few_images_to_compare_have_no_finding():
    classifier, digits = dv.example()
    grids = {name: dv.PixelGrid(2, 2, dv.Constant(value)) for name, value in {"black": 0.0, "white": 1.0}.items()}
    compared = dv.compare({name: dv.effects(classifier, digits.image[:4], grid) for name, grid in grids.items()})
    assert compared.findings == []
    assert compared.to_pandas().empty
