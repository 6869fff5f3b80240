"""KernelSHAP on models whose Shapley values are known, and its errors."""

from __future__ import annotations

import torch

from dovision.explainers.attributions import KernelSHAP
from dovision.interventions.pixel_grid import PixelGrid

TARGET = torch.tensor([2, 0, 1, 2, 2])


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


def test_another_seed_draws_other_coalitions(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 12, 15)
    first, second = (KernelSHAP(seed, draws=60)(batch, TARGET, classifier) for seed in (0, 1))
    assert not torch.equal(first, second)
