"""Integrated gradients on a linear model, their completeness, and captum's own."""

from __future__ import annotations

from itertools import pairwise

import captum.attr
import pytest
import torch

from dovision.explainers.attributions import IntegratedGradients

TARGET = torch.tensor([2, 0, 1, 2, 2])


@pytest.mark.parametrize("baselines", [[0.0], [0.25], [0.0, 1.0]])
def test_on_a_linear_model_a_pixel_has_its_weight_times_its_way_on_average(baselines, linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 5, 6)
    maps = IntegratedGradients(steps=3, baselines=baselines)(batch, TARGET, linear(weight))
    expected = (weight[TARGET] * (batch.image - sum(baselines) / len(baselines))).sum(1)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)


def test_a_maps_sum_is_the_logit_of_the_image_minus_that_of_the_blank_one(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 14, 14)
    maps = IntegratedGradients(steps=400, baselines=[0.5])(batch, TARGET, classifier)
    with torch.no_grad():
        difference = classifier(batch.image) - classifier(torch.full_like(batch.image, 0.5))
    expected = difference[torch.arange(5), TARGET]
    torch.testing.assert_close(maps.sum((1, 2)), expected, rtol=1e-3, atol=1e-3)


def test_the_cells_of_a_grid_have_the_sums_of_their_pixels_shares(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 14, 14)
    pixels = IntegratedGradients(steps=8)(batch, TARGET, classifier)
    found = IntegratedGradients(steps=8, cells=3)(batch, TARGET, classifier)
    edges = [0, 4, 9, 14]
    for top, bottom in pairwise(edges):
        for left, right in pairwise(edges):
            total = pixels[:, top:bottom, left:right].sum((1, 2))
            cell = found[:, top:bottom, left:right].flatten(1)
            torch.testing.assert_close(cell, total.unsqueeze(1).expand_as(cell), rtol=1e-5, atol=1e-6)


def test_the_map_is_captums_own_and_no_more_images_are_run_at_a_time_than_the_batch_size(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 14, 14)
    expected = captum.attr.IntegratedGradients(classifier).attribute(batch.image, 0.0, TARGET, n_steps=20).sum(1)
    seen: list[int] = []
    classifier.network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    maps = IntegratedGradients(steps=20, batch_size=3)(batch, TARGET, classifier)
    torch.testing.assert_close(maps, expected.detach(), rtol=0, atol=1e-5)
    assert max(seen) == 3
