"""Effects beyond frames against pandas, on effects that a run has measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.analysis.unit_combinations import frame_contrasts
from dovision.functional.intervals import mean_interval

IMAGES = 24


@pytest.fixture(scope="module")
def classifier() -> dv.Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3))
    return dv.wrap(network, ["a", "b", "c"])


def measured(classifier: dv.Classifier, intervention: dv.Intervention) -> dv.MeasuredEffects:
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return dv.effects(classifier, (images, torch.arange(IMAGES) % 3), intervention)


def test_means_and_intervals_are_those_of_the_differences_of_each_image(classifier):
    found = measured(classifier, dv.EdgeControl(dv.PixelGrid(2, 2), frame=1))
    rows = found.rows(range(IMAGES)).astype({"unit": str, "class": str})
    wide = rows.pivot(index="sample", columns=["unit", "class"], values="log_odds_effect").astype(float)
    frame = frame_contrasts(found.folder).set_index(["unit", "class"])
    assert len(frame) == 4 * 3
    for unit, label in frame.index:
        value = (wide[unit, label] - wide[f"{unit} frame", label]).to_numpy()
        expected = mean_interval(value, np.arange(IMAGES))
        columns = [f"beyond_log_odds{end}" for end in ("", "_low", "_high")]
        got = frame.loc[(unit, label), columns].to_numpy(float)
        np.testing.assert_allclose(got, expected[:3], atol=1e-5)


def test_other_interventions_have_none_and_findings_say_what_lies_beyond_a_frame(classifier):
    plain = measured(classifier, dv.PixelGrid(2, 2))
    assert frame_contrasts(plain.folder).empty
    framed = measured(classifier, dv.EdgeControl(dv.PixelGrid(2, 2), frame=1))
    assert "Beyond what its frame alone does, it changes them by " in framed.findings[0]
    assert "beyond_effects" in framed.figures
