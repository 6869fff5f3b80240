"""Controls: the centre, the edges against scipy's, and the random map; RISE where the evidence lies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from dovision.explainers.controls import BrightnessMap, CenterMap, EdgeMap, RandomMap
from dovision.explainers.rise import RISE


def test_the_bump_is_highest_at_the_centre_and_falls_by_its_sigma(convolutional, images):
    (bump,) = CenterMap(sigma=0.2)(images(1, 3, 11, 21), torch.tensor([0]), convolutional())
    assert bump.argmax() == 5 * 21 + 10
    assert bump[5, 10] == 1
    assert bump[5, 14] == pytest.approx(math.exp(-0.5 * (4 / (0.2 * 21)) ** 2))
    assert bump[8, 10] == pytest.approx(math.exp(-0.5 * (3 / (0.2 * 11)) ** 2))
    torch.testing.assert_close(bump, bump.flip(0, 1))


def test_the_map_is_the_size_of_scipys_sobel_gradient_of_the_grey_image(convolutional, images):
    batch = images(3, 3, 12, 15)
    grey = batch.image.mean(1).numpy()
    expected = [np.hypot(*(ndimage.sobel(one, axis, mode="nearest") for axis in (0, 1))) for one in grey]
    maps = EdgeMap()(batch, torch.tensor([0, 1, 2]), convolutional())
    torch.testing.assert_close(maps, torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-5)


def test_a_map_depends_on_seed_sample_and_class_alone(convolutional, images):
    classifier, batch = convolutional(), images(4, 3, 12, 15)
    target = torch.tensor([0, 1, 0, 1])
    maps = RandomMap(seed=1)(batch, target, classifier)
    order = [2, 0, 3]
    assert torch.equal(RandomMap(seed=1)(batch.rows(order), target[order], classifier), maps[order])
    others = [RandomMap(seed=2)(batch, target, classifier), RandomMap(seed=1)(batch, 1 - target, classifier)]
    drawn = torch.cat([maps, *others]).flatten(1)
    assert len(drawn.unique(dim=0)) == 12


def test_pixels_are_uniform(convolutional, images):
    maps = RandomMap(seed=0)(images(4, 3, 64, 64), torch.tensor([0, 1, 2, 0]), convolutional())
    shares = torch.histc(maps, bins=4, min=0, max=1) / maps.numel()
    torch.testing.assert_close(shares, torch.full((4,), 0.25), rtol=0, atol=0.02)


def test_brightness_is_the_grey_image(convolutional, images):
    batch = images(2, 3, 12, 15)
    assert torch.equal(BrightnessMap()(batch, torch.tensor([0, 1]), convolutional()), batch.image.mean(1))


def test_a_pixel_has_what_is_left_where_it_is_shown_minus_what_is_left_on_average(linear, images):
    weight = torch.zeros(1, 1, 12, 12)
    weight[:, :, :6, :6] = 1 / 36  # the logit is the mean of the upper left quarter, half of which is shown
    batch = images(2, 1, 12, 12)._replace(image=torch.ones(2, 1, 12, 12))
    maps = RISE(seed=0, masks=4000, cells=2, scale="log_odds")(batch, torch.tensor([0, 0]), linear(weight))
    corner, opposite = maps[:, :2, :2], maps[:, -2:, -2:]
    assert corner.min() > 0.2
    assert opposite.abs().max() < 0.05
    assert maps[:, 5:7, 5:7].mean() < corner.mean()
