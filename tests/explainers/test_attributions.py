"""Attributions by captum: on models whose attributions are known, and as captum gives them."""

from __future__ import annotations

from itertools import pairwise

import captum.attr
import pytest
import torch

from dovision.explainers.attributions import IntegratedGradients, KernelSHAP, Occlusion, SmoothGrad
from dovision.functional.rng import generator
from dovision.interventions.pixel_grid import PixelGrid

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


def test_on_a_linear_model_a_pixel_takes_its_weight_times_its_distance_from_the_fill_away(linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 5, 6)
    maps = Occlusion(window=1, stride=1, fill=0.25, scale="log_odds")(batch, TARGET, linear(weight))
    torch.testing.assert_close(maps, (weight[TARGET] * (batch.image - 0.25)).sum(1), rtol=0, atol=1e-5)


def test_occlusion_is_captums_own_and_no_more_images_are_run_at_a_time_than_the_batch_size(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 13, 15)
    peer = captum.attr.Occlusion(lambda image: classifier(image).softmax(-1))
    expected = peer.attribute(batch.image, (3, 4, 4), strides=(3, 3, 3), target=TARGET, baselines=0.5)[:, 0]
    seen: list[int] = []
    classifier.network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    maps = Occlusion(window=4, stride=3, fill=0.5, batch_size=4)(batch, TARGET, classifier)
    torch.testing.assert_close(maps, expected, rtol=0, atol=1e-5)
    assert max(seen) == 4


def test_the_usual_window_is_a_fourteenth_of_the_shorter_side(convolutional, images):
    classifier, batch = convolutional(), images(2, 3, 28, 33)
    usual, named = (explainer(batch, TARGET[:2], classifier) for explainer in (Occlusion(), Occlusion(2, 2)))
    assert torch.equal(usual, named)
    assert usual[0, 0, 0] == usual[0, 1, 1]


def test_on_a_linear_model_it_is_the_size_of_the_weights(linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    maps = SmoothGrad(seed=0, draws=3)(images(5, 2, 5, 6), TARGET, linear(weight))
    torch.testing.assert_close(maps, weight[TARGET].abs().sum(1), rtol=0, atol=1e-5)


def test_it_is_the_mean_gradient_at_noisy_images_and_not_that_at_the_image(convolutional, images):
    classifier, batch = convolutional(), images(1, 3, 12, 15)
    maps = SmoothGrad(seed=4, draws=400, sigma=0.2)(batch, TARGET[:1], classifier)
    noise = torch.randn(400, 3, 12, 15, generator=generator(9))
    noisy = (batch.image + 0.2 * noise).requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(noisy)[:, 2].mean(), noisy)
    expected = gradient.sum(0).abs().sum(0)
    assert torch.corrcoef(torch.stack([maps.flatten(), expected.flatten()]))[0, 1] > 0.95
    torch.testing.assert_close(maps.mean(), expected.mean(), rtol=0.1, atol=0)


def test_on_a_linear_model_a_cell_has_the_weights_times_the_distances_from_the_fill(linear, images):
    weight = torch.randn(3, 2, 4, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 4, 6)
    maps = KernelSHAP(seed=0, rows=2, columns=3, draws=60, fill=0.25)(batch, TARGET, linear(weight))
    of_pixels = (weight[TARGET] * (batch.image - 0.25)).sum(1)
    for cell in range(6):
        box = PixelGrid(2, 3).region((2, 4, 6), cell, 0)
        expected = box.crop(of_pixels).sum((1, 2))
        torch.testing.assert_close(box.crop(maps).amax((1, 2)), expected, rtol=0, atol=1e-3)
        torch.testing.assert_close(box.crop(maps).amin((1, 2)), expected, rtol=0, atol=1e-3)


def test_the_cells_share_the_change_from_the_painted_image_to_the_image(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 12, 15)
    maps = KernelSHAP(seed=0, rows=3, columns=3, draws=80)(batch, TARGET, classifier)
    with torch.no_grad():
        logits = [classifier(image) for image in (batch.image, torch.zeros_like(batch.image))]
    shown, painted = (classifier.task.log_odds(each)[torch.arange(5), TARGET] for each in logits)
    torch.testing.assert_close(maps[:, ::4, ::5].sum((1, 2)), shown - painted, rtol=1e-3, atol=1e-3)
