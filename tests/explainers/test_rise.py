"""RISE: where the evidence lies, its seeds, and its errors."""

from __future__ import annotations

import torch

from dovision.explainers.rise import RISE

TARGET = torch.tensor([0, 0])


def test_a_pixel_has_what_is_left_where_it_is_shown_minus_what_is_left_on_average(linear, images):
    weight = torch.zeros(1, 1, 12, 12)
    weight[:, :, :6, :6] = 1 / 36  # the logit is the mean of the upper left quarter, half of which is shown
    batch = images(2, 1, 12, 12)._replace(image=torch.ones(2, 1, 12, 12))
    maps = RISE(seed=0, masks=4000, cells=2, scale="log_odds")(batch, TARGET, linear(weight))
    corner, opposite = maps[:, :2, :2], maps[:, -2:, -2:]
    assert corner.min() > 0.2
    assert opposite.abs().max() < 0.05
    assert maps[:, 5:7, 5:7].mean() < corner.mean()
