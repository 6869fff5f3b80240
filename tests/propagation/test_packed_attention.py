"""Attention with packed weights gives what torch's module and torchvision's windows give, and is used where it may."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import SwinTransformerBlockV2, shifted_window_attention

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from dovision.propagation.kernels.packed_attention import PackedAttention, PackedWindowAttention
from dovision.propagation.kernels.packed_linear import can_pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="torch has no such kernel here")


def made(*shapes, seed=0):
    """Of normal numbers; weights, of two axes, keep the size of what they are multiplied with."""
    random = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(shape, generator=random) for shape in shapes]
    return [each / each.shape[1] ** 0.5 if each.ndim == 2 else each for each in tensors]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("tokens", "channels", "heads"), [(1, 8, 2), (17, 48, 3), (197, 64, 1)])
def test_tokens_attend_to_each_other_as_in_torchs_module(tokens, channels, heads, bias):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(channels, heads, bias=bias, batch_first=True).eval()
    nn.init.normal_(module.out_proj.weight)
    (value,) = made((5, tokens, channels))
    kernel = PackedAttention.of(module)
    with torch.no_grad():
        torch.testing.assert_close(kernel(value), module(value, value, value)[0], rtol=1e-5, atol=1e-5)
        for rows in (1, 2, 4):
            assert torch.equal(kernel(value[:rows]), kernel(value)[:rows])


@pytest.mark.parametrize("shift", [(0, 0), (1, 2), (2, 0), (3, 1)])
@pytest.mark.parametrize(("height", "width"), [(12, 8), (9, 7), (4, 8), (3, 2)])  # of windows, padded, of one, of less
def test_windows_of_a_map_attend_as_torchvision_has_them(height, width, shift):
    value, into, into_bias, back, back_bias, bias = made(
        (3, height, width, 24), (72, 24), (72,), (24, 24), (24,), (1, 3, 16, 16)
    )
    kernel = PackedWindowAttention((into, into_bias), (back, back_bias), 3, bias, [4, 4], shift)
    expected = shifted_window_attention(
        *(value, into, back, bias, [4, 4], 3, list(shift)), qkv_bias=into_bias, proj_bias=back_bias, training=False
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


def test_what_is_no_number_stays_in_its_image():
    (value,) = made((2, 5, 8))
    value[0, 3, 2] = torch.nan
    read = PackedAttention.of(nn.MultiheadAttention(8, 2, batch_first=True).eval())(value)
    assert read[0].isnan().all()
    assert read[1].isfinite().all()


class OfTokens(nn.Module):
    """One block of attention on the tokens of an image, of which a test chooses how it is called."""

    def __init__(self, attend, **settings):
        super().__init__()
        self.patches, self.attend = nn.Conv2d(3, 16, 8, stride=8), attend
        self.attention = nn.MultiheadAttention(16, 2, **{"batch_first": True} | settings)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(tokens + self.attend(self.attention, tokens)).mean(1)


def alone(attention, x):
    return attention(x, x, x, need_weights=False)[0]


def with_its_weights(attention, x):
    read, weights = attention(x, x, x)
    return read * weights.sum(-1, keepdim=True)


def weights_unread(attention, x):
    read, _ = attention(x, x, x)
    return read


def to_others(attention, x):
    return attention(x, 2 * x, x, need_weights=False)[0]


def masked(attention, x):
    mask = torch.triu(torch.ones(49, 49, dtype=torch.bool), 1)
    return attention(x, x, x, attn_mask=mask, need_weights=False)[0]


def hooked(network):
    network.attention.register_forward_hook(lambda module, args, output: (2 * output[0], output[1]))
    return network


@pytest.mark.parametrize(
    ("network", "packed"),
    [
        (OfTokens(alone), 1),
        (OfTokens(weights_unread), 1),
        (OfTokens(with_its_weights), 0),
        (OfTokens(to_others), 0),
        (OfTokens(masked), 0),
        (OfTokens(alone, add_zero_attn=True), 0),
        (OfTokens(alone, add_bias_kv=True), 0),
        (OfTokens(alone, bias=False), 1),
        (hooked(OfTokens(alone)), 0),
        (VisionTransformer(56, 8, 2, 2, 16, 32, num_classes=5), 2),
        (SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=5), 4),
        (SwinTransformer([4, 4], 16, [2], [2], [4, 4], num_classes=5, block=SwinTransformerBlockV2), 0),
    ],
    ids=[
        *("alone", "weights unread", "with its weights", "to others", "masked", "zero key", "learnt keys", "no bias"),
        *("hooked", "vit", "swin", "swin v2"),
    ],
)
def test_edits_are_as_in_whole_passes(network, packed, classifier_of, batch_of, expected_outcome, assert_equal):
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    classifier, batch = classifier_of(network), batch_of(2, 3, 56, 56)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, PixelGrid(4, 4), batch))
    steps = propagation.engine.graph.steps if hasattr(propagation.engine, "graph") else ()
    assert sum(isinstance(step.function, PackedAttention) for step in steps) == packed
    for chunk in (3, 17):
        assert torch.equal(Propagation(classifier, PixelGrid(4, 4), chunk)(batch).treated, outcome.treated)
