"""The random control."""

from __future__ import annotations

import torch

from dovision.explainers.random_map import RandomMap


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
