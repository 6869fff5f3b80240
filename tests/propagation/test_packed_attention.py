"""Window attention with packed weights gives what torchvision's windows give, and is used where it may."""

import pytest
import torch
from torch import nn
from torchvision.models import SwinTransformer
from torchvision.models.swin_transformer import SwinTransformerBlockV2, shifted_window_attention

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from dovision.propagation.graph_passes import compute_constants
from dovision.propagation.incremental import Incremental
from dovision.propagation.kernels.packed_linear import can_pack
from dovision.propagation.kernels.passes import PackedWindowAttention, pack_attention
from dovision.propagation.tracing import trace

from .conftest import assert_equal, batch_of, classifier_of, expected_outcome

pytestmark = pytest.mark.skipif(not can_pack(), reason="torch has no such kernel here")


def made(*shapes, seed=0):
    """Of normal numbers; weights, of two axes, keep the size of what they are multiplied with."""
    random = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(shape, generator=random) for shape in shapes]
    return [each / each.shape[1] ** 0.5 if each.ndim == 2 else each for each in tensors]


@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (2, 0), (3, 1)])
@pytest.mark.parametrize(("height", "width"), [(12, 6), (9, 7), (4, 6), (3, 2)])  # of windows, padded, of one, of less
def test_windows_of_a_map_attend_as_torchvision_has_them(height, width, shift):
    value, into, into_bias, back, back_bias, bias = made(
        (3, height, width, 24), (72, 24), (72,), (24, 24), (24,), (1, 3, 12, 12)
    )
    kernel = PackedWindowAttention((into, into_bias), (back, back_bias), 3, bias, [4, 3], shift)
    expected = shifted_window_attention(
        *(value, into, back, bias, [4, 3], 3, list(shift)), qkv_bias=into_bias, proj_bias=back_bias, training=False
    )
    torch.testing.assert_close(kernel(value), expected, rtol=1e-5, atol=1e-5)
    for rows in (1, 2):
        assert torch.equal(kernel(value[:rows]), kernel(value)[:rows])


def test_a_map_of_another_size_has_scores_of_its_own():
    into, back, bias = made((24, 8), (8, 8), (1, 2, 4, 4))
    kernel = PackedWindowAttention((into, None), (back, None), 2, bias, [2, 2], [1, 1])
    for side in (4, 6, 4, 5):
        (value,) = made((2, side, side, 8))
        expected = shifted_window_attention(value, into, back, bias, [2, 2], 2, [1, 1], training=False)
        torch.testing.assert_close(kernel(value), expected, rtol=1e-5, atol=1e-5)


class Windows(nn.Module):
    """torchvision's attention in windows, of which a test chooses how it is called."""

    def __init__(self, attend):
        super().__init__()
        self.patches, self.attend = nn.Conv2d(3, 16, 8, stride=8), attend
        self.into, self.back, self.head = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 5)
        self.scores = nn.Parameter(torch.zeros(1, 2, 12, 12))

    def forward(self, x):
        maps = self.patches(x).permute(0, 2, 3, 1)
        return self.head(maps + self.attend(self, maps)).mean((1, 2))

    def settings(self, **others):
        weights = {"qkv_weight": self.into.weight, "proj_weight": self.back.weight, "qkv_bias": self.into.bias}
        sizes = {"window_size": [4, 3], "shift_size": [2, 1], "num_heads": 2, "training": False}
        return weights | sizes | {"relative_position_bias": self.scores} | others


def in_windows(self, maps):
    return shifted_window_attention(maps, **self.settings(proj_bias=self.back.bias))


def in_windows_by_name(self, maps):
    return shifted_window_attention(input=maps, **self.settings())


def by_cosine(self, maps):
    return shifted_window_attention(maps, **self.settings(logit_scale=torch.ones(2, 1, 1)))


torch.fx.wrap("shifted_window_attention")


NETWORKS = {
    "windows": (Windows(in_windows), 1),
    "windows by name": (Windows(in_windows_by_name), 1),
    "windows by cosine": (Windows(by_cosine), 0),
    "swin": (SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5), 4),
    "swin v2": (SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=5, block=SwinTransformerBlockV2), 0),
}


def with_weights(network):
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_attention_is_packed_where_it_may_be(name):
    network, expected = NETWORKS[name]
    classifier, image = classifier_of(with_weights(network)), batch_of(2, 3, 56, 56).image
    graph = pack_attention(compute_constants(trace(classifier, None, image)))
    kernels = [step for step in graph.steps if isinstance(step.function, PackedWindowAttention)]
    assert len(kernels) == expected
    values = {graph.image: image}
    with torch.no_grad():
        for step in graph.steps[1:]:
            args, kwargs = step.arguments(values.__getitem__)
            values[step] = step.function(*args, **kwargs)
        torch.testing.assert_close(values[graph.output], classifier(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_edits_are_as_in_whole_passes(name):
    classifier, batch = classifier_of(with_weights(NETWORKS[name][0])), batch_of(2, 3, 56, 56)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    outcome = propagation(batch)
    assert isinstance(propagation.engine, Incremental)
    assert_equal(outcome, expected_outcome(classifier, PixelGrid(4, 4), batch))
    for chunk in (3, 17):
        assert torch.equal(Propagation(classifier, PixelGrid(4, 4), chunk)(batch).treated, outcome.treated)
