"""The central control."""

from __future__ import annotations

import math

import pytest
import torch

from dovision.explainers.center_map import CenterMap


def test_the_bump_is_highest_at_the_centre_and_falls_by_its_sigma(convolutional, images):
    (bump,) = CenterMap(sigma=0.2)(images(1, 3, 11, 21), torch.tensor([0]), convolutional())
    assert bump.argmax() == 5 * 21 + 10
    assert bump[5, 10] == 1
    assert bump[5, 14] == pytest.approx(math.exp(-0.5 * (4 / (0.2 * 21)) ** 2))
    assert bump[8, 10] == pytest.approx(math.exp(-0.5 * (3 / (0.2 * 11)) ** 2))
    torch.testing.assert_close(bump, bump.flip(0, 1))


def test_sigma_must_be_above_zero():
    with pytest.raises(ValueError, match="sigma must be above 0, got 0"):
        CenterMap(sigma=0)
