"""Results without rows, of one image, and of too few to compare."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import dovision as dv


def test_without_rows_the_figures_of_averages_are_left():
    torch.manual_seed(0)
    classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
    found = dv.effects(classifier, torch.rand(12, 1, 8, 8), dv.PixelGrid(2, 2), "fgsm", "16/255", rows="none")
    assert found.rows(range(12)).empty
    assert "average_effects" in found.figures
    assert not {"overlay"} & set(found.figures)
    assert "<img" in found._repr_html_()


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
