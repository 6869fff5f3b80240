from __future__ import annotations

import pytest
import torch

from dovision.models.small_cnn import small_cnn

DIGITS = [str(digit) for digit in range(10)]


def test_the_network_has_two_convolutions_and_two_linear_layers():
    network = small_cnn((1, 28, 28), "multiclass", DIGITS, [0.5], [0.5]).network
    sizes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters() if "weight" in name}
    assert sizes == {
        "conv1.weight": (32, 1, 3, 3),
        "conv2.weight": (64, 32, 3, 3),
        "linear1.weight": (256, 64 * 12 * 12),
        "linear2.weight": (10, 256),
    }


def test_averaging_changes_nothing_on_28_pixels():
    network = small_cnn((1, 28, 28), "multiclass", DIGITS, [0.5], [0.5]).network
    pooled = torch.rand(2, 64, 12, 12)
    assert torch.equal(network.average(pooled), pooled)


@pytest.mark.parametrize(("shape", "classes"), [((1, 32, 32), 10), ((3, 28, 41), 2), ((1, 96, 96), 14)])
def test_any_size_from_28_on_gives_a_logit_per_class(shape, classes):
    classifier = small_cnn(shape, "multilabel", [f"k{k}" for k in range(classes)], [0.5], [0.5])
    assert classifier(torch.rand(2, *shape)).shape == (2, classes)
