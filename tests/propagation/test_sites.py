"""The check that axis 1 of a site holds channels, on networks of every layout, none of which it knows by name."""

from __future__ import annotations

import functools
import re

import pytest
import timm
import torch
import torchvision
from torch import nn

import dovision as dv
from dovision.interventions.activation import Activation
from dovision.propagation import check_layout

SHAPE = (3, 64, 64)
POSITIONS = "grows with the image: it holds"


@functools.cache
def on_meta(name: str):
    """A network by its name in torchvision or timm, as a classifier on the meta device."""
    with torch.device("meta"):
        if name == "densenet":
            network = torchvision.models.DenseNet(8, (2, 3), 16)
        else:
            network = timm.create_model(name[5:]) if name.startswith("timm/") else torchvision.models.get_model(name)
    return dv.wrap(network, classes=1000).to("meta")


def refusal(classifier, site, shape=SHAPE):
    """Message for an intervention on the channels of a site; empty if they are on axis 1."""
    try:
        check_layout(classifier, Activation(site=site), shape)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("name", "size", "site", "reason"),
    [
        ("swin_t", 64, "features.7", f"(1, 2, 2, 768), and its axis 1 {POSITIONS} rows"),
        ("swin_t", 64, "features.1.0.mlp", f"(1, 16, 16, 96), and its axis 1 {POSITIONS} rows"),
        ("vit_b_16", 224, "encoder.layers.encoder_layer_3", "(1, 197, 768), and nothing shows what its axis 1 holds"),
        ("vit_b_16", 224, "encoder.ln", "(1, 197, 768), and nothing shows what its axis 1 holds"),
        ("timm/vit_tiny_patch16_224", 224, "patch_embed", f"(1, 196, 192), and its axis 1 {POSITIONS} tokens"),
        ("timm/vit_tiny_patch16_224", 224, "blocks.0.mlp", "(1, 197, 192), and nothing shows what its axis 1 holds"),
        ("timm/swin_tiny_patch4_window7_224", 224, "layers.2", f"(1, 14, 14, 384), and its axis 1 {POSITIONS} rows"),
        ("timm/convnext_tiny", 64, "stages.1.blocks.0.norm", f"(1, 8, 8, 192), and its axis 1 {POSITIONS} rows"),
        ("convnext_tiny", 64, "features.1.0.block.3", f"(1, 16, 16, 384), and its axis 1 {POSITIONS} rows"),
    ],
)
def test_rows_and_tokens_are_no_channels(name, size, site, reason):
    text = refusal(on_meta(name), site, (3, size, size))
    assert text.startswith("an intervention on channels needs them on axis 1 of the layer's value, as in (B, C, H, W)")
    assert f"site {site!r} is of shape {reason}" in text


@pytest.mark.parametrize(
    ("name", "size", "sites"),
    [
        ("swin_t", 64, ["features.0.0", "head"]),
        ("vit_b_16", 224, ["conv_proj", "heads"]),
        ("timm/vit_tiny_patch16_224", 224, ["patch_embed.proj", "fc_norm", "head"]),
        ("timm/convnext_tiny", 64, ["stem.0", "stages.1.blocks.0", "stages.1.blocks.0.conv_dw", "head.global_pool"]),
        ("vgg11", 64, ["features", "avgpool", "classifier.0", "classifier"]),
        ("mobilenet_v3_small", 64, ["features.4.block.2.fc1", "avgpool", "classifier.3"]),
    ],
)
def test_channels_are_found_beside_other_layouts(name, size, sites):
    classifier = on_meta(name)
    assert [refusal(classifier, site, (3, size, size)) for site in sites] == [""] * len(sites)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "densenet"])
def test_every_layer_of_a_convolutional_network_has_channels(name):
    """Each but the ReLUs of a residual network, which run twice."""
    classifier = on_meta(name)
    modules = dict(classifier.network.named_modules())
    sites = [site for site in modules if site and not (name == "resnet18" and site.endswith("relu"))]
    assert len(sites) > 40
    assert {site: message for site in sites if (message := refusal(classifier, site))} == {}


class Heads(nn.Module):
    """Attention without weights: a map per head, (B, heads, N, N), from a map (B, C, H, W)."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Softmax(-1)

    def forward(self, x):
        tokens = x.flatten(2).unflatten(1, (2, -1))
        return (tokens @ self.scores(tokens.mT @ tokens)).flatten(1, 2).mean(-1)


class Resized(nn.Module):
    """A network that brings every image to one size, as those of torchxrayvision do."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(nn.functional.interpolate(x, (16, 16)))


class ToLast(nn.Module):
    def forward(self, x):
        return x.movedim(1, -1)


CONVOLUTION = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    ("network", "site", "reason"),
    [
        (
            nn.Sequential(CONVOLUTION, nn.Flatten(), nn.Linear(4 * 36, 2)),
            "1",
            "axis 1 .* channels and positions in one",
        ),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 2)), "2", "positions in one"),
        (
            nn.Sequential(CONVOLUTION, nn.Flatten(2), nn.Linear(36, 2), nn.Flatten(), nn.Linear(8, 2)),
            "2",
            "nothing shows .* one size only",
        ),
        (nn.Sequential(CONVOLUTION, Heads(), nn.Linear(4, 2)), "1.scores", "both sides of the image: it holds tokens"),
        (Resized(CONVOLUTION, ToLast(), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2)), "layers.2", "it holds rows"),
        (Resized(nn.Identity(), nn.Flatten(), nn.Linear(768, 2)), "layers.0", "does not follow that of the image"),
    ],
    ids=["flattened", "pooled and flattened", "fixed", "heads", "resized, channels last", "resized, no map"],
)
def test_what_is_not_shown_to_be_channels_is_refused(network, site, reason):
    assert re.search(reason, refusal(dv.wrap(network, 2), site, (3, 8, 8)))


@pytest.mark.parametrize(
    ("network", "site"),
    [
        (nn.Sequential(CONVOLUTION, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)), "1"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 2)), "2"),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), "2"),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)), "2"),
        (nn.Sequential(CONVOLUTION, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)), "1"),
        (Resized(CONVOLUTION, nn.ReLU(), nn.Flatten(), nn.Linear(784, 2)), "layers.1"),
    ],
    ids=["small image", "features of a fixed size", "pooled", "pooled to a map", "a sequence of positions", "resized"],
)
def test_channels_are_accepted_where_the_shape_shows_them(network, site):
    assert refusal(dv.wrap(network, 2), site, (3, 8, 8)) == ""


def test_a_measurement_refuses_before_it_edits_a_row_of_a_map():
    network = nn.Sequential(CONVOLUTION, ToLast(), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).train()
    with pytest.raises(ValueError, match=r"site '2' is of shape \(1, 6, 6, 4\), .* rows .* Choose another layer"):
        dv.effect_map(dv.wrap(network, 2), torch.rand(2, 3, 8, 8), Activation(site="2"))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_other_interventions_are_asked_for_nothing_but_an_existing_site():
    classifier = dv.wrap(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), 2)
    check_layout(classifier, dv.PixelGrid(2, 2), (3, 8, 8))
    assert "has no site 'conv'" in refusal(classifier, "conv", (3, 8, 8))
