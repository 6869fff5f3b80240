from __future__ import annotations

import pytest
import torch
from torch import fx

from dovision.models._same_padding import PaddedConvolution, fix_same_padding

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("size", [(64, 64), (97, 50), (71, 33)])
def test_a_fixed_border_changes_nothing_for_images_of_its_size(size):
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=3).eval()
    image = torch.rand(2, 3, *size)
    expected, names = network(image), list(network.state_dict())
    fix_same_padding(network, (3, *size))
    torch.testing.assert_close(network(image), expected)
    assert isinstance(network.conv_stem, PaddedConvolution)
    assert list(network.state_dict()) == names
    fx.symbolic_trace(network)


def test_a_network_without_such_layers_stays_as_it_is():
    network = timm.create_model("resnet18", num_classes=3)
    names = list(network.state_dict())
    fix_same_padding(network, (3, 64, 64))
    assert list(network.state_dict()) == names
