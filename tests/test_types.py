"""Layouts of sites."""

from __future__ import annotations

import pytest
import torch

from dovision.types import Layout


@pytest.mark.parametrize(
    ("layout", "shape", "seen"),
    [
        (Layout.NCHW, (2, 3, 4, 5), (2, 3, 4, 5)),
        (Layout.NHWC, (2, 4, 5, 3), (2, 3, 4, 5)),
        (Layout.NTC, (2, 7, 3), (2, 3, 7, 1)),
        (Layout.NCT, (2, 3, 7), (2, 3, 7, 1)),
        (Layout.NHTC, (2, 6, 7, 3), (2, 6, 7, 3)),
        (Layout.NC, (2, 3), (2, 3)),
    ],
)
def test_a_layout_shows_its_units_on_axis_1_and_restores_the_value(layout, shape, seen):
    value = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    shown = layout.present(value)
    assert shown.shape == seen
    assert torch.equal(layout.restore(shown), value)
