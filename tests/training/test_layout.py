"""Gradients of narrow convolutions that skip places are right, whatever the layout of the images."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from dovision.training.fitting import laid_out


class OwnForward(nn.Conv2d):
    """Calls the function itself, as layers do that standardise their weights."""

    def forward(self, input):
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding)


def network(narrow):
    spatial = nn.Conv2d(3, narrow.in_channels, 3, padding=1)
    end = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 2))
    return nn.Sequential(spatial, nn.BatchNorm2d(narrow.in_channels), narrow, *end)


KINDS = {
    "plain": lambda channels: nn.Conv2d(channels, 16, 1, 2),
    "a forward of its own": lambda channels: OwnForward(channels, 16, 1, 2),
    "spectral norm": lambda channels: parametrizations.spectral_norm(nn.Conv2d(channels, 16, 1, 2)),
    "weight norm": lambda channels: parametrizations.weight_norm(nn.Conv2d(channels, 16, 1, 2)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7, 8, 12, 16])
def test_gradients_are_those_in_double_precision(channels, kind):
    torch.manual_seed(0)
    own, image = network(KINDS[kind](channels)), torch.rand(64, 3, 16, 16)
    exact = copy.deepcopy(own).double()
    laid_out(own)(image).square().sum().backward()
    exact(image.double()).square().sum().backward()
    for mine, expected in zip(own.parameters(), exact.parameters(), strict=True):
        largest = max(1.0, expected.grad.abs().max().item())
        torch.testing.assert_close(mine.grad.double(), expected.grad, rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize(
    ("layer", "is_last"),
    [
        (nn.Conv2d(4, 16, 1, 2), False),
        (nn.Conv2d(15, 16, 1, (1, 2)), False),
        (nn.Conv2d(16, 16, 1, 2), True),
        (nn.Conv2d(4, 16, 1, 2, groups=2), True),
        (nn.Conv2d(4, 16, 1), True),
        (nn.Conv2d(4, 16, 3, 2), True),
    ],
    ids=str,
)
def test_channels_lie_last_but_in_a_network_with_a_narrow_layer(layer, is_last):
    weight = laid_out(network(layer))[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) == is_last
