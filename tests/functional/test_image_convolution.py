from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.functional.image_convolution import convolve, is_faster
from dovision.module_state import differentiable


def convolution(*arguments: int, padding: tuple[int, int] = (0, 0), bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(*arguments, padding=padding, bias=bias).double().requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_value_and_gradient_are_those_of_torch(channels, padding, bias):
    own = convolution(channels, 4, (3, 2), padding=padding, bias=bias)
    image = torch.rand(5, channels, 7, 6, dtype=torch.float64, requires_grad=True)
    expected, found = own(image), convolve(image, own.weight, own.bias, padding)
    assert torch.equal(found, expected)
    into = torch.rand_like(expected)
    gradients = [torch.autograd.grad(each, image, into)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_the_gradient_has_a_gradient():
    own = convolution(1, 2, 3, padding=(1, 1))
    image = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda each: convolve(each, own.weight, own.bias, (1, 1)).pow(2), [image])


def test_transforms_of_torch_func_give_what_they_give_of_torchs_own():
    own = convolution(1, 2, 3, padding=(1, 1))
    image, tangent = torch.rand(2, 2, 1, 4, 4, dtype=torch.float64)

    def results(layer):
        sensitivity = torch.func.vmap(torch.func.grad(lambda each: layer(each[None]).pow(2).sum()))(image)
        return sensitivity, torch.func.jvp(layer, (image,), (tangent,))[1], torch.func.jacrev(layer)(image)

    torch.testing.assert_close(results(lambda each: convolve(each, own.weight, own.bias, (1, 1))), results(own))


def test_gradients_in_batches_are_those_of_torch():
    own = convolution(1, 2, 3, padding=(1, 1))
    image = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    into = torch.rand(3, 2, 2, 4, 4, dtype=torch.float64)
    results = (own(image), convolve(image, own.weight, own.bias, (1, 1)))
    gradients = [torch.autograd.grad(each, image, into, is_grads_batched=True) for each in results]
    torch.testing.assert_close(*gradients)


def test_a_network_that_takes_images_one_by_one_keeps_its_gradient():
    layer, image = convolution(1, 2, 3), torch.rand(1, 4, 4, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(layer(image).pow(2).sum(), image)
    with differentiable(layer):
        torch.testing.assert_close(torch.autograd.grad(layer(image).pow(2).sum(), image), expected)


def test_a_network_runs_its_first_convolution_so_for_a_block_in_which_gradients_are_asked_for():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 8, 3), nn.Conv2d(8, 2, 3))
    image = torch.rand(2, 1, 9, 9, requires_grad=True)
    outside = network(image)
    with differentiable(network):
        inside = network(image)
        assert ["forward" in vars(layer) for layer in network] == [True, False, True, False]
    assert torch.equal(inside, outside)
    assert not any("forward" in vars(layer) for layer in network)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(4, 2, 3),
        nn.Conv2d(2, 2, (3, 9)),
        nn.Conv2d(2, 2, 3, stride=2),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding="same"),
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3)),
        nn.Linear(2, 2),
    ],
)
def test_other_layers_keep_torchs_own_gradient(other):
    assert not is_faster(other.requires_grad_(False))


def test_weights_that_are_fitted_keep_torchs_own_gradient():
    assert not is_faster(nn.Conv2d(1, 2, 3))
