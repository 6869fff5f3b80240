"""Linear layers with packed weights give what torch's give, and an activation behind them is part of the call."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from dovision.propagation.kernels.packed_linear import PackedLinear, can_pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="torch has no such kernel here")


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


def hooked(activation):
    activation.register_forward_hook(lambda module, args, output: 2 * output)
    return activation


@pytest.mark.parametrize(
    ("activation", "joined"),
    [
        (nn.GELU(), True),
        (nn.ReLU(inplace=True), True),
        (nn.GELU(approximate="tanh"), False),
        (hooked(nn.GELU()), False),
        (nn.Tanh(), False),
    ],
    ids=["gelu", "relu", "tanh gelu", "hooked", "tanh"],
)
def test_edits_are_as_in_whole_passes(activation, joined, classifier_of, batch_of, expected_outcome, assert_equal):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4), Block(activation), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )
    classifier, batch = classifier_of(network), batch_of(2, 3, 56, 56)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, PixelGrid(4, 4), batch))
    packed = [step.function for step in propagation.engine.graph.steps if isinstance(step.function, PackedLinear)]
    assert [kernel.activation != ("none", "") for kernel in packed] == [joined, False, False]
    for chunk in (3, 17):
        assert torch.equal(Propagation(classifier, PixelGrid(4, 4), chunk)(batch).treated, outcome.treated)


@pytest.mark.parametrize("rows", [1, 3, 15, 17])
def test_other_rows_change_no_bit(rows):
    random = torch.Generator().manual_seed(0)
    weight, bias, value = (torch.randn(shape, generator=random) for shape in ((64, 48), (64,), (32, 9, 48)))
    kernel = PackedLinear(weight, bias)
    assert torch.equal(kernel(value[:rows]), kernel(value)[:rows])
    torch.testing.assert_close(kernel(value), nn.functional.linear(value, weight, bias), rtol=0, atol=1e-5)
