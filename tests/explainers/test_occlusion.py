"""Occlusion on a linear model, and captum's own."""

from __future__ import annotations

import captum.attr
import torch

from dovision.explainers.attributions import Occlusion

TARGET = torch.tensor([2, 0, 1, 2, 2])


def test_on_a_linear_model_a_pixel_takes_its_weight_times_its_distance_from_the_fill_away(linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 5, 6)
    maps = Occlusion(window=1, stride=1, fill=0.25, scale="log_odds")(batch, TARGET, linear(weight))
    torch.testing.assert_close(maps, (weight[TARGET] * (batch.image - 0.25)).sum(1), rtol=0, atol=1e-5)


def test_the_map_is_captums_own_and_no_more_images_are_run_at_a_time_than_the_batch_size(convolutional, images):
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
