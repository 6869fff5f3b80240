"""Layouts of sites, and tasks."""

from __future__ import annotations

import pytest
import torch

from dovision.types import Layout, Task


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


def test_of_two_classes_that_exclude_each_other_the_first_is_the_opposite_of_the_second():
    assert Task("multiclass", ("benign", "malignant")).opposite == "benign"
    assert Task("multilabel", ("nodule", "opacity")).opposite is None
    assert Task("multiclass", ("a", "b", "c")).opposite is None
