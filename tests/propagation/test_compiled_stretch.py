"""What every edit runs in full, in OpenVINO: the plain forward pass to 1e-5 in probability, and refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import dovision as dv
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from dovision.propagation.kernels.compiled_stretch import CompiledStretch
from dovision.types import Batch

pytest.importorskip("openvino")
CLASSES = 5


class Excited(nn.Module):
    """A map times scales of its channels, which every edit changes everywhere."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale(x)


class Attention(nn.Module):
    """Self-attention over the places of a map, with sizes read from the map and from the image."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.norm = heads, nn.Linear(channels, 3 * channels), nn.LayerNorm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images, channels = x.shape[:2]
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = (
            self.qkv(self.norm(tokens)).view(images, -1, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        )
        tokens = tokens + ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(images, -1, channels)
        return tokens.transpose(1, 2).reshape(x.shape)


def network(middle: str, activation: type[nn.Module], channels: int = 16) -> nn.Module:
    """A local stem, an operator that reads the whole map, and convolutions behind it."""
    wide = {"excited": lambda: Excited(channels), "attention": lambda: Attention(channels, 2), "local": nn.Identity}
    stem = (nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels), activation())
    rest = (nn.Conv2d(channels, 32, 3, padding=1), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*stem, wide[middle](), *rest, nn.Linear(32, CLASSES))


def batch_of(images: int, side: int = 24) -> Batch:
    number = torch.arange(images)
    return Batch(
        torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(0)), number % CLASSES, number, number
    )


def compiled(propagation: Propagation) -> bool:
    assert isinstance(propagation.engine, Incremental)
    return isinstance(propagation.engine.graph.output.function, CompiledStretch)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["excited", "attention"]),
    st.sampled_from([nn.ReLU, nn.SiLU, nn.GELU, nn.Hardswish]),
    st.integers(1, 3),
    st.integers(0, 2**16),
)
def test_effects_are_those_of_plain_passes(middle, activation, images, seed):
    torch.manual_seed(seed)
    classifier, batch, grid = dv.wrap(network(middle, activation), CLASSES).eval(), batch_of(images), dv.PixelGrid(3, 3)
    propagation = Propagation(classifier, grid, runtime="openvino")
    outcome = propagation(batch)
    assert compiled(propagation)
    with torch.no_grad():
        for unit in range(9):
            expected = classifier(grid.apply(batch.image, unit, propagation.context(propagation.engine, batch)))
            torch.testing.assert_close(outcome.treated[:, unit].softmax(-1), expected.softmax(-1), rtol=0, atol=1e-5)
    assert all(parameter.requires_grad for parameter in classifier.network.parameters())  # as before


def test_sites_inside_the_network_are_compiled_behind_the_site():
    torch.manual_seed(0)
    classifier, batch = dv.wrap(network("excited", nn.ReLU), CLASSES), batch_of(2)
    channels = dv.Activation("0")
    propagation = Propagation(classifier, channels, runtime="openvino")
    torch.testing.assert_close(propagation(batch).treated, Propagation(classifier, channels)(batch).treated)
    assert compiled(propagation)


def test_a_network_that_stays_local_gives_the_same_bits_without_it():
    torch.manual_seed(0)
    classifier, batch = dv.wrap(network("local", nn.ReLU), CLASSES), batch_of(2)
    propagation = Propagation(classifier, dv.PixelGrid(3, 3), runtime="openvino")
    assert torch.equal(propagation(batch).treated, Propagation(classifier, dv.PixelGrid(3, 3))(batch).treated)
    assert not compiled(propagation)


def test_it_is_refused_where_it_cannot_be_exact(monkeypatch):
    torch.manual_seed(0)
    classifier, batch, grid = dv.wrap(network("excited", nn.ReLU), CLASSES), batch_of(1), dv.PixelGrid(3, 3)
    with pytest.raises(ValueError, match="runtime must be one of openvino, got 'onnx'"):
        Propagation(classifier, grid, runtime="onnx")
    double = dv.wrap(network("excited", nn.ReLU), CLASSES).double()
    with pytest.raises(ValueError, match="is for single precision on a processor"):
        Propagation(double, grid, runtime="openvino")(batch._replace(image=batch.image.double()))
    run = CompiledStretch.__call__
    monkeypatch.setattr(CompiledStretch, "__call__", lambda self, *inputs: run(self, *inputs) + torch.eye(CLASSES)[0])
    with pytest.raises(ValueError, match="does not take the network: probabilities are off by over 1e-05"):
        Propagation(classifier, grid, runtime="openvino")(batch)


def test_a_network_that_cannot_be_traced_is_refused_as_such():
    class Branching(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :CLASSES] if x.max() < 2 else x.flatten(1)[:, -CLASSES:]

    with pytest.raises(ValueError, match="runtime=openvino needs a network that can be traced, but: "):
        Propagation(dv.wrap(Branching(), CLASSES), dv.PixelGrid(3, 3), runtime="openvino")(batch_of(1))
