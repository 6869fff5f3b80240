"""Outcomes to the bit, with and without the edits that change nothing; of small networks with any chunk, too."""

import pytest
import torch

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation, edits, engine_choice
from made_batches import batch_of
from tests.propagation.test_networks import NETWORKS, SIDES
from tests.propagation.test_networks import classifier_of as network_classifier

IN_SIXTEENS = {"timm maxvit"}  # whole passes with squeeze-excitation: a row keeps its bits only in 16, 32, ... rows


def all_run(classifier, intervention, batch, monkeypatch, chunk="auto"):
    """The outcome where no edit is left out."""
    with monkeypatch.context() as patch:
        patch.setattr(edits, "_differs", lambda new, old: torch.ones(len(new), dtype=torch.bool))
        outcome = Propagation(classifier, intervention, chunk)(batch)
    assert outcome.skipped == 0
    return outcome


def assert_same_but_for_what_is_left_out(outcome, expected):
    """Equal to the bit where an edit was made; the rest is the control."""
    left_out = (outcome.treated == outcome.control.unsqueeze(1)).all(-1)
    assert outcome.skipped == left_out.sum() > 0
    assert torch.equal(outcome.control, expected.control)
    assert torch.equal(outcome.treated[~left_out], expected.treated[~left_out])
    torch.testing.assert_close(outcome.treated, expected.treated, rtol=0, atol=3e-5)


@pytest.mark.parametrize("worth_it", [pytest.param(0.9, marks=pytest.mark.long), float("inf")])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in IN_SIXTEENS])
def test_edits_that_are_left_out_change_no_bit_of_the_others(name, worth_it, monkeypatch):
    """As the engine is chosen, and incrementally wherever that agrees."""
    monkeypatch.setattr(engine_choice, "WORTH_IT", worth_it)
    torch.manual_seed(0)
    side = SIDES[name]
    random = torch.Generator().manual_seed(0)
    cells = (torch.rand(7, 1, 4, 4, generator=random) < 0.5).float()  # those that are not black
    image = torch.rand(7, 3, side, side, generator=random) * torch.nn.functional.interpolate(cells, size=(side, side))
    classifier = network_classifier(NETWORKS[name][0](), image[:2])
    for images in (1, 7):
        batch = batch_of(image[:images])
        expected = all_run(classifier, PixelGrid(4, 4), batch, monkeypatch)
        assert_same_but_for_what_is_left_out(Propagation(classifier, PixelGrid(4, 4))(batch), expected)


@pytest.mark.parametrize("worth_it", [pytest.param(0.9, marks=pytest.mark.long), float("inf")])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in IN_SIXTEENS])
def test_the_chunk_changes_no_bit(name, worth_it, monkeypatch):
    """As the engine is chosen, and incrementally wherever that agrees."""
    monkeypatch.setattr(engine_choice, "WORTH_IT", worth_it)
    torch.manual_seed(0)
    image = torch.rand(2, 3, SIDES[name], SIDES[name])
    classifier, batch = network_classifier(NETWORKS[name][0](), image), batch_of(image)
    expected = Propagation(classifier, PixelGrid(5, 5))(batch)
    for chunk in (3, 8, 17):
        outcome = Propagation(classifier, PixelGrid(5, 5), chunk)(batch)
        assert torch.equal(outcome.control, expected.control)
        assert torch.equal(outcome.treated, expected.treated)
