"""Gradients of narrow convolutions that skip places are right, and stay within their memory, with channels last."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from dovision.models.timm_model import PaddedConvolution
from dovision.training.narrow_convolutions import channels_first_where_narrow


def network(inputs, kernel=1, stride=2, groups=1, padded=False, normed=None):
    narrow = nn.Conv2d(inputs, 16, kernel, stride, groups=groups)
    narrow = PaddedConvolution(narrow, (16, 16)) if padded else narrow
    narrow = narrow if normed is None else normed(narrow)
    spatial = nn.Conv2d(3, inputs, 3, padding=1)
    end = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 2))
    return nn.Sequential(spatial, nn.BatchNorm2d(inputs), narrow, *end)


class OwnForward(nn.Conv2d):
    """Calls the function itself, as layers do that standardise their weights."""

    def forward(self, input):
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
def test_a_subclass_with_a_forward_of_its_own_has_its_gradients_too(channels):
    torch.manual_seed(0)
    own = network(channels)
    own[2] = OwnForward(channels, 16, 1, 2)
    image = torch.rand(64, 3, 16, 16).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(own).double()
    own.to(memory_format=torch.channels_last)
    with channels_first_where_narrow(own):
        assert own[2].weight.stride() == (channels, 1, 1, 1)
        own(image).square().sum().backward()
    exact(image.double()).square().sum().backward()
    torch.testing.assert_close(own[2].weight.grad.double(), exact[2].weight.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("laid_out", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 12, 16])
def test_gradients_are_those_in_double_precision(channels, padded, laid_out):
    torch.manual_seed(0)
    own, image = network(channels, padded=padded), torch.rand(64, 3, 16, 16).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(own).double()
    own.to(memory_format=laid_out)
    with channels_first_where_narrow(own):
        own(image).square().sum().backward()
    exact(image.double()).square().sum().backward()
    for mine, expected in zip(own.parameters(), exact.parameters(), strict=True):
        largest = max(1.0, expected.grad.abs().max().item())
        torch.testing.assert_close(mine.grad.double(), expected.grad, rtol=0, atol=1e-4 * largest)


NORMED = (parametrizations.spectral_norm, parametrizations.weight_norm, nn.utils.spectral_norm)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("normed", NORMED)
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
def test_computed_weights_have_their_gradients_too(channels, normed, padded):
    torch.manual_seed(0)
    own = network(channels, padded=padded, normed=normed)
    image = torch.rand(64, 3, 16, 16).to(memory_format=torch.channels_last)
    exact = copy.deepcopy(own).double()
    own.to(memory_format=torch.channels_last)
    seen = []
    with channels_first_where_narrow(own):
        convolve = own[2]._conv_forward
        own[2]._conv_forward = lambda value, weight, bias: seen.append(weight) or convolve(value, weight, bias)
        own(image).square().sum().backward()
        own[2]._conv_forward = convolve
    assert len(seen) == 1  # in training a look at the weight changes it
    assert "_conv_forward" not in vars(own[2])
    exact(image.double()).square().sum().backward()
    for mine, expected in zip(own.parameters(), exact.parameters(), strict=True):
        largest = max(1.0, expected.grad.abs().max().item())
        torch.testing.assert_close(mine.grad.double(), expected.grad, rtol=0, atol=1e-4 * largest)
    for mine, expected in zip(own.buffers(), exact.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), expected.double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"inputs": 4}, True),
        ({"inputs": 15, "stride": (1, 2)}, True),
        ({"inputs": 4, "padded": True}, True),
        ({"inputs": 16}, False),
        ({"inputs": 4, "groups": 2}, False),
        ({"inputs": 4, "stride": 1}, False),
        ({"inputs": 4, "kernel": 3}, False),
    ],
    ids=str,
)
def test_other_convolutions_are_left_alone_and_all_after_the_block(settings, changed):
    own = network(**settings).to(memory_format=torch.channels_last)
    with channels_first_where_narrow(own):
        assert ("_conv_forward" in vars(own[2])) == changed
    assert "_conv_forward" not in vars(own[2])


def test_maps_may_be_named_and_lazy_layers_wait():
    narrow = nn.Conv2d(4, 16, 1, 2)
    image = torch.rand(2, 4, 8, 8).to(memory_format=torch.channels_last)
    with channels_first_where_narrow(nn.Sequential(narrow, nn.LazyConv2d(3, 1, 2))):
        assert torch.equal(narrow(input=image), narrow(image))


def test_the_block_ends_where_a_fit_fails():
    own = network(4)
    with pytest.raises(RuntimeError), channels_first_where_narrow(own):
        raise RuntimeError
    assert "_conv_forward" not in vars(own[2])


def test_a_layer_keeps_its_own_convolution_and_blocks_may_be_nested():
    own, image = network(4), torch.rand(2, 3, 16, 16)
    convolve = own[2]._conv_forward
    own[2]._conv_forward = lambda value, weight, bias: 2 * convolve(value, weight, bias)
    before, outcome = own[2]._conv_forward, own.eval()(image)
    with channels_first_where_narrow(own):
        with channels_first_where_narrow(own):
            torch.testing.assert_close(own(image), outcome)
        torch.testing.assert_close(own(image), outcome)
    assert own[2]._conv_forward is before


@pytest.mark.parametrize("padded", [False, True])
def test_a_network_may_be_copied_and_saved_inside_the_block(padded, tmp_path):
    own, image = network(4, padded=padded).eval(), torch.rand(2, 3, 16, 16)
    with channels_first_where_narrow(own):
        copied = copy.deepcopy(own)
        torch.save(own, tmp_path / "network.pt")
    saved = torch.load(tmp_path / "network.pt", weights_only=False)
    for other in (copied, saved):
        assert torch.equal(other(image), own(image))
        other[2].weight.data.zero_()
        assert not torch.equal(other(image), own(image))
