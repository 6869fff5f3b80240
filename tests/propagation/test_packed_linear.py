"""Layers with packed weights give what torch's give, and an activation behind them is part of the call."""

import copy

import pytest
import torch
from torch import nn

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from dovision.propagation.kernels import packed_linear
from dovision.propagation.kernels.packed_linear import PackedConvolution, PackedLinear, can_pack

from .conftest import assert_equal, batch_of, classifier_of, expected_outcome

pytestmark = pytest.mark.skipif(not can_pack(), reason="torch has no such kernel here")


@pytest.fixture(autouse=True, params=["oneDNN", "MKL"])
def library(request, monkeypatch):
    """Which library makes the products, whatever the processor."""
    if request.param == "MKL" and not torch.backends.mkl.is_available():
        pytest.skip("torch has no MKL here")
    monkeypatch.setattr(packed_linear, "onednn_is_faster", lambda weight: request.param == "oneDNN")
    return request.param


def assert_same(value, expected, library):
    """Assert that a row has the bits it has among other rows; of MKL, which promises none, to its rounding."""
    atol = 0 if library == "oneDNN" else 1e-5
    torch.testing.assert_close(value, expected, rtol=0, atol=atol)


class Block(nn.Module):
    """As ConvNeXt's: a depthwise convolution, then two linear layers over channels that lie last."""

    def __init__(self, activation):
        super().__init__()
        self.spatial = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.norm, self.wide, self.narrow = nn.LayerNorm(16), nn.Linear(16, 64), nn.Linear(64, 16)
        self.activation = activation

    def forward(self, x):
        return x + self.narrow(self.activation(self.wide(self.norm(self.spatial(x).permute(0, 2, 3, 1))))).permute(
            0, 3, 1, 2
        )


def inverted(activation, **settings):
    """As MobileNet's block: a 1 x 1 convolution, a depthwise one, and one of 1 x 1 again."""
    return nn.Sequential(
        nn.Conv2d(16, 48, 1, bias=False, **settings),
        nn.BatchNorm2d(48),
        activation,
        nn.Conv2d(48, 48, 3, padding=1, groups=48),
        nn.Conv2d(48, 16, 1),
    )


def hooked(activation):
    activation.register_forward_hook(lambda module, args, output: 2 * output)
    return activation


class Gated(nn.Module):
    def forward(self, x):
        return x * nn.functional.gelu(x)


@pytest.mark.parametrize(
    ("block", "activation", "settings", "joined"),
    [
        (Block, nn.GELU(), {}, [True, False, False]),
        *((Block, other, {}, 3 * [False]) for other in (Gated(), nn.ReLU(True), hooked(nn.GELU()), nn.GELU("tanh"))),
        (inverted, nn.SiLU(inplace=True), {}, [True, False]),
        (inverted, nn.Hardswish(), {"padding": "same"}, [True, False]),
        (inverted, nn.GELU(), {"padding": "valid"}, [True, False]),
        (inverted, nn.ReLU(inplace=True), {}, [False, False]),
        *((inverted, nn.SiLU(), setting, [False]) for setting in ({"stride": 2}, {"padding": 1}, {"groups": 2})),
    ],
)
def test_edits_are_as_in_whole_passes(block, activation, settings, joined):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 4, stride=4), block(activation, **settings), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    classifier, batch = classifier_of(nn.Sequential(*layers, nn.Linear(16, 5))), batch_of(2, 3, 56, 56)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, PixelGrid(4, 4), batch))
    kernel, steps = PackedLinear if block is Block else PackedConvolution, propagation.engine.graph.steps
    assert [step.function.joins for step in steps if isinstance(step.function, kernel)] == joined
    for chunk in (3, 17):
        assert torch.equal(Propagation(classifier, PixelGrid(4, 4), chunk)(batch).treated, outcome.treated)


@pytest.mark.parametrize("activation", list(packed_linear.JOINED_ACTIVATIONS), ids=lambda each: each.__name__)
def test_a_joined_activation_is_torchs(activation):
    random = torch.Generator().manual_seed(0)
    weight, value = torch.randn(64, 48, generator=random), torch.randn(30, 48, generator=random)
    kernel = PackedLinear(weight, None)
    kernel.activation = packed_linear.JOINED_ACTIVATIONS[activation]
    function = activation() if isinstance(activation, type) else activation
    torch.testing.assert_close(kernel(value), function(nn.functional.linear(value, weight)), rtol=0, atol=2e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 15, 17])
@pytest.mark.parametrize("channels", [48, 1152])
def test_other_rows_change_no_bit(rows, channels, library):
    random = torch.Generator().manual_seed(0)
    weight, bias, value = (torch.randn(shape, generator=random) for shape in ((64, channels), (64,), (32, 9, channels)))
    weight /= channels**0.5
    kernel = PackedLinear(weight, bias)
    assert_same(kernel(value[:rows]), kernel(value)[:rows], library)
    assert_same(kernel(value[0, :rows]), kernel(value)[0, :rows], library)
    torch.testing.assert_close(kernel(value), nn.functional.linear(value, weight, bias), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", packed_linear.JOINED_ACTIVATIONS.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("outputs", [1, 10, 96, 100, 341, 768])
def test_other_rows_change_no_bit_behind_an_activation(outputs, activation, library, monkeypatch):
    monkeypatch.undo()  # as chosen for these channels
    capability = {"oneDNN": "AVX512", "MKL": "AVX2"}[library]
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    random = torch.Generator().manual_seed(0)
    kernel = PackedLinear(torch.randn(outputs, 128, generator=random) / 10, torch.randn(outputs, generator=random))
    kernel.activation = activation
    value = torch.randn(64, 128, generator=random)
    whole = kernel(value)
    for rows in (4, 7, 16, 17, 31, 63):
        assert_same(kernel(value[:rows]), whole[:rows], library)


@pytest.mark.parametrize(
    "bias", [torch.randn(128)[::2], torch.randn(1).expand(64), torch.randn(1)], ids=["strided", "expanded", "of one"]
)
def test_a_bias_of_another_form_is_added_as_torch_adds_it(bias):
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(64, 8 * 256) / 50)
            self.register_buffer("bias", bias)

        def forward(self, x):
            return nn.functional.linear(x, self.weight, self.bias)

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Flatten(), Linear(), nn.ReLU(), nn.Linear(64, 5))
    classifier, batch = classifier_of(network), batch_of(2, 1, 16, 16)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    assert_equal(propagation(batch), expected_outcome(classifier, PixelGrid(4, 4), batch))
    copied = copy.deepcopy(propagation)
    assert torch.equal(copied(batch).treated, propagation(batch).treated)
