"""Edits at two sites, and routes of an edit, by the incremental engine: the same as in whole passes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dovision.interventions.activation import Activation
from dovision.interventions.joint import Joint, Mediation, Path
from dovision.interventions.pixel_grid import PixelGrid
from dovision.interventions.values import SampleMean
from dovision.propagation import Propagation, engine_choice
from dovision.propagation.whole_passes import TwoSitePasses

from .conftest import assert_equal, batch_of, classifier_of


class Skipping(nn.Module):
    """Two blocks, each with a way around it, and a scale that reads a whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.third, self.squeeze = nn.Conv2d(12, 6, 3, stride=2), nn.Conv2d(6, 6, 1)
        self.last = nn.Linear(6, 5)

    def forward(self, x):
        x = self.first(x).relu()
        x = torch.cat([x, F.relu(self.second(x)) + x], 1)
        x = self.third(x)
        return self.last(F.max_pool2d(x * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid(), 2).mean((2, 3)))


FIRST = {"cells": PixelGrid(4, 4), "channels": Activation("first"), "positions": Activation("first", unit="position")}
SECOND = ("second", "third", "squeeze")
HELD = {
    "channel": lambda site: Activation(site, choose=[1]),
    "mean": lambda site: Activation(site, choose=[1], value=SampleMean()),
    "position": lambda site: Activation(site, unit="position", choose=[0]),
}


def same_in_whole_passes(intervention, monkeypatch):
    torch.manual_seed(0)
    classifier, batch, outcomes = classifier_of(Skipping()), batch_of(2, 1, 24, 24), []
    for worth in (float("inf"), -1):
        monkeypatch.setattr(engine_choice, "WORTH_IT", worth)
        engine_choice._ENGINES.clear()
        propagation = Propagation(classifier, intervention)
        outcomes.append(propagation(batch))
        assert isinstance(propagation.engine, TwoSitePasses)
        assert (propagation.engine.engine is None) == (worth == -1)
    assert_equal(*outcomes)
    torch.testing.assert_close(outcomes[0].treated, outcomes[1].treated, rtol=0, atol=1e-5)


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("site", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_both_edits_are_made(first, site, held, monkeypatch):
    if site == "squeeze" and held == "mean":
        pytest.skip("a mean over one position")
    same_in_whole_passes(Joint(FIRST[first], HELD[held](site)), monkeypatch)


@pytest.mark.parametrize("kind", [Path, Mediation])
@pytest.mark.parametrize("site", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_an_edit_takes_its_route(first, site, kind, monkeypatch):
    same_in_whole_passes(kind(FIRST[first], site), monkeypatch)
