"""Where one token is read at the end, only what it needs is computed, and the logits are those of whole passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.interventions.activation import Activation
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation, engine_choice
from dovision.propagation.graph_passes import compute_constants
from dovision.propagation.incremental import Incremental
from dovision.propagation.kernels.token_selection import select_token
from dovision.propagation.operations import Operations
from dovision.propagation.tracing import trace

TOKENS, WIDTH = 17, 24


class Fused(nn.Module):
    """Attention as timm writes it."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        images, tokens, width = x.shape
        query, key, value = self.qkv(x).reshape(images, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        read = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.proj(read.transpose(1, 2).reshape(images, tokens, width))


class Causal(Fused):
    """Attention to the tokens before."""

    def forward(self, x):
        query = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        read = nn.functional.scaled_dot_product_attention(query[0], query[1], query[2], is_causal=True)
        return self.proj(read.transpose(1, 2).flatten(2))


class KeyFirst(Fused):
    """Attention whose key is named before its query."""

    def forward(self, x):
        read = nn.functional.scaled_dot_product_attention
        query, key, value = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        found = read(key=key, query=query, value=value)
        return self.proj(found.transpose(1, 2).reshape(*x.shape))


class Latent(KeyFirst):
    """Attention of constant queries."""

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 2, TOKENS, WIDTH // 2))

    def forward(self, x):
        _, key, value = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        found = nn.functional.scaled_dot_product_attention(self.query, key, value)
        return self.proj(found.transpose(1, 2).reshape(*x.shape))


class Masked(KeyFirst):
    """Attention to tokens that are not far."""

    def forward(self, x):
        query, key, value = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mask = torch.ones(TOKENS, TOKENS).tril(3).triu(-3)
        found = nn.functional.scaled_dot_product_attention(query, key, value, mask)
        return self.proj(found.transpose(1, 2).reshape(*x.shape))


class OfTorch(nn.MultiheadAttention):
    def __init__(self):
        super().__init__(WIDTH, 2, batch_first=True)

    def forward(self, x):
        return super().forward(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    def __init__(self, attention, activation):
        super().__init__()
        self.attention, self.scale = attention(), nn.Parameter(torch.full((WIDTH,), 0.7))
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), activation, nn.Dropout(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = x + self.scale * self.attention(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    """Of sixteen patches and a class token, which `read` takes, or others."""

    def __init__(self, read, attention=Fused, activation=None):
        super().__init__()
        self.patches, self.read = nn.Conv2d(3, WIDTH, 4, stride=4), read
        self.first, self.places = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(Block(attention, activation or nn.GELU()) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x) if isinstance(x, torch.Tensor) else x.shape[0], -1, -1), x], 1)
        return self.head(self.read(self.norm(self.blocks(x + self.places))))


def hooked():
    activation = nn.GELU()
    activation.register_forward_hook(lambda module, args, output: output - output.mean(1, keepdim=True))
    return activation


NETWORKS = {  # and whether one token is taken early
    "first": (lambda: Transformer(lambda x: x[:, 0]), True),
    "another": (lambda: Transformer(lambda x: x[:, 3]), True),
    "torch's attention": (lambda: Transformer(lambda x: x[:, 0], OfTorch), True),
    "relu": (lambda: Transformer(lambda x: x[:, 2], activation=nn.ReLU(inplace=True)), True),
    "causal": (lambda: Transformer(lambda x: x[:, 2], Causal), True),
    "key first": (lambda: Transformer(lambda x: x[:, 2], KeyFirst), True),
    "constant query": (lambda: Transformer(lambda x: x[:, 2], Latent), True),
    "masked": (lambda: Transformer(lambda x: x[:, 2], Masked), True),
    "last": (lambda: Transformer(lambda x: x[:, -1]), False),
    "two": (lambda: Transformer(lambda x: x[:, 0] + x[:, 1]), False),
    "mean": (lambda: Transformer(lambda x: x.mean(1)), False),
    "features": (lambda: Transformer(lambda x: nn.functional.pad(x.transpose(1, 2)[:, 0], (0, WIDTH - TOKENS))), False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_edits_are_as_in_whole_passes(name, monkeypatch, classifier_of, batch_of, expected_outcome, assert_equal):
    torch.manual_seed(0)
    classifier, batch = classifier_of(NETWORKS[name][0]()), batch_of(2, 3, 16, 16)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, PixelGrid(4, 4), batch))
    assert isinstance(propagation.engine, Incremental)
    narrowed = [step for step in propagation.engine.graph.steps if step.function is torch.narrow]
    assert bool(narrowed) == NETWORKS[name][1]
    for chunk in (3, 17):
        assert torch.equal(Propagation(classifier, PixelGrid(4, 4), chunk)(batch).treated, outcome.treated)
    monkeypatch.setattr(engine_choice, "select_token", lambda graph: graph)
    whole = Propagation(classifier_of(classifier.network), PixelGrid(4, 4))(batch)
    torch.testing.assert_close(outcome.treated, whole.treated, rtol=0, atol=1e-5)


@pytest.mark.parametrize("site", ["blocks.1", "blocks.1.norms.0", "blocks.1.attention.proj", "blocks.1.mlp", "norm"])
def test_edits_inside_the_last_block_are_as_without_a_selection(site, monkeypatch, classifier_of, batch_of):
    torch.manual_seed(0)
    network, batch = Transformer(lambda x: x[:, 3]), batch_of(2, 3, 16, 16)
    outcome = Propagation(classifier_of(network), Activation(site))(batch)
    monkeypatch.setattr(engine_choice, "select_token", lambda graph: graph)
    propagation = Propagation(classifier_of(network), Activation(site))
    whole = propagation(batch)
    assert isinstance(propagation.engine, Incremental)
    torch.testing.assert_close(outcome.treated, whole.treated, rtol=0, atol=1e-5)
    assert (whole.treated - whole.control.unsqueeze(1)).abs().max() > 1e-2


def test_a_hook_that_reads_all_tokens_still_does(classifier_of, batch_of, expected_outcome, assert_equal):
    torch.manual_seed(0)
    network = Transformer(lambda x: x[:, 0], activation=hooked())
    classifier, batch = classifier_of(network), batch_of(2, 3, 16, 16)
    propagation = Propagation(classifier, PixelGrid(4, 4))
    assert_equal(propagation(batch), expected_outcome(classifier, PixelGrid(4, 4), batch))


def test_of_the_last_block_keys_and_values_alone_are_of_all_tokens(classifier_of, batch_of):
    torch.manual_seed(0)
    classifier, image = classifier_of(Transformer(lambda x: x[:, 0])), batch_of(2, 3, 16, 16).image
    made = []
    for graph_pass in (lambda graph: graph, select_token):
        graph = graph_pass(compute_constants(trace(classifier, None, image, 0, 0.0)))
        with torch.no_grad(), Operations() as counted:
            control = Incremental(graph, False).clean(image).control
        torch.testing.assert_close(control, classifier(image), rtol=0, atol=1e-5)
        made.append(counted.number)
    of_others = 2 * 2 * (TOKENS - 1) * WIDTH**2 * 9  # by the projection back and the two layers behind it
    attention = 2 * 2 * (TOKENS - 1) * TOKENS * WIDTH * 2
    assert made[0] - made[1] == of_others + attention
