"""Weights lie with channels last, but where oneDNN would then write past the memory of a gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import dovision as dv
from dovision.training.fitting import laid_out


def network(inputs, kernel=1, stride=2, groups=1):
    spatial = nn.Conv2d(3, inputs, 3, padding=1)
    narrow = nn.Conv2d(inputs, 16, kernel, stride, groups=groups)
    return nn.Sequential(
        spatial, nn.BatchNorm2d(inputs), narrow, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 2)
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"inputs": 4}, False),
        ({"inputs": 15}, False),
        ({"inputs": 32, "groups": 4}, False),
        ({"inputs": 4, "stride": (1, 2)}, False),
        ({"inputs": 16}, True),
        ({"inputs": 4, "stride": 1}, True),
        ({"inputs": 4, "kernel": 3}, True),
    ],
    ids=str,
)
def test_channels_come_last_but_before_a_narrow_convolution_that_skips_places(settings, expected):
    weight = next(laid_out(dv.wrap(network(**settings), 2)).parameters())
    assert weight.is_contiguous(memory_format=torch.channels_last) == expected
    assert weight.is_contiguous() != expected


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 12, 16])
def test_gradients_behind_narrow_convolutions_that_skip_places_are_right(channels):
    torch.manual_seed(0)
    classifier, image = laid_out(dv.wrap(network(channels), 2)).train(), torch.rand(64, 3, 16, 16)
    exact = copy.deepcopy(classifier).double()
    classifier(image).square().sum().backward()
    exact(image.double()).square().sum().backward()
    for own, expected in zip(classifier.parameters(), exact.parameters(), strict=True):
        largest = expected.grad.abs().max()
        torch.testing.assert_close(own.grad.double(), expected.grad, rtol=0, atol=1e-4 * max(1.0, largest.item()))
