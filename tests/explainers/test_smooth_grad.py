"""SmoothGrad on a linear model, by hand, and its errors."""

from __future__ import annotations

import torch

from dovision.explainers.attributions import SmoothGrad
from dovision.functional.rng import generator

TARGET = torch.tensor([2, 0, 1, 2, 2])


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


def test_another_seed_draws_other_noise(convolutional, images):
    classifier, batch = convolutional(), images(5, 3, 12, 15)
    first, second = (SmoothGrad(seed, draws=2)(batch, TARGET, classifier) for seed in (0, 1))
    assert not torch.equal(first, second)
