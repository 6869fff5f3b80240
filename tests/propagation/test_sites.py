"""Layouts of sites, found in networks of every kind, none of which is known by name, and effects there."""

import functools
import re
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from torch import nn

import dovision as dv
from dovision.interventions.activation import Activation
from dovision.propagation import layouts, presented_site
from dovision.propagation.layouts import Probes
from dovision.types import Layout

SHAPE = (3, 64, 64)


@functools.cache
def on_meta(name: str):
    """A network by its name in torchvision or timm, as a classifier on the meta device."""
    with torch.device("meta"):
        if name == "densenet":
            network = torchvision.models.DenseNet(8, (2, 3), 16)
        else:
            network = timm.create_model(name[5:]) if name.startswith("timm/") else torchvision.models.get_model(name)
    return dv.wrap(network, classes=1000).to("meta").eval()


def layout(classifier, site, shape=SHAPE, unit="channel", given=None):
    """The layout of a site, or the message of its refusal."""
    try:
        found = presented_site(classifier, SimpleNamespace(site=site, unit=unit, layout=given), shape)
    except ValueError as error:
        return str(error)
    return "NCHW" if found is None else found.layout.value  # None: the image


OF_A_KIND = {  # by the name of a network, the size of its images, and sites with their layouts
    "timm/swin_tiny_patch4_window7_224": (224, {"layers.2": "NHWC", "layers.0.blocks.0.mlp.fc1": "NTC"}),
    "timm/mixer_s32_224": (224, {"blocks.0.mlp_channels.fc1": "NTC", "blocks.3": "NTC", "norm": "NTC"}),
    "vgg11": (64, {"features": "NCHW", "avgpool": "NCHW", "classifier.0": "NC", "classifier": "NC"}),
    "resnet18": (64, {"layer1.0.relu#0": "NCHW", "layer1.0.relu#1": "NCHW", "layer4": "NCHW"}),
}


@pytest.mark.parametrize("name", OF_A_KIND)
def test_layouts_are_found(name, monkeypatch):
    size, sites = OF_A_KIND[name]
    monkeypatch.setattr(layouts, "Probes", functools.cache(Probes))  # one set of passes for all sites of a network
    classifier = on_meta(name)
    assert {site: layout(classifier, site, (3, size, size)) for site in sites} == sites


@pytest.mark.parametrize(
    ("name", "size", "site", "unit", "reason"),
    [
        ("timm/mixer_s32_224", 224, "blocks.0.mlp_tokens.fc1", "channel", "and nothing shows what its axes hold"),
        ("timm/swin_tiny_patch4_window7_224", 224, "layers.0.blocks.0.attn.qkv", "channel", "windows of the image"),
        ("swin_t", 64, "features.7", "token", r"of a kind that it has \(channel, position\), got token"),
        ("swin_t", 64, "features.7", "head", r"of layout NHWC, must be of a kind that it has"),
        ("resnet18", 64, "layer1.0.relu", "channel", "got 2 runs of 'layer1.0.relu'. Name one of them: .*#0 to"),
        ("resnet18", 64, "layer1.0.relu#2", "channel", "must run in a forward pass, got 2 runs of its module"),
        ("resnet18", 64, "layer1.0.heads", "head", "has no site 'layer1.0.heads'"),
    ],
)
def test_what_has_no_known_layout_or_no_such_units_is_refused(name, size, site, unit, reason):
    assert re.search(reason, layout(on_meta(name), site, (3, size, size), unit))


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


class MeanToken(nn.Module):
    def forward(self, value):
        return value.mean(1)


CONVOLUTION = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    ("network", "site", "reason"),
    [
        (nn.Sequential(CONVOLUTION, nn.Flatten(), nn.Linear(144, 2)), "1", "axis 1 .* channels and positions in one"),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 2)), "2", "positions in one"),
        (
            nn.Sequential(CONVOLUTION, nn.Flatten(2), nn.Linear(36, 2), nn.Flatten(), nn.Linear(8, 2)),
            "2",
            "nothing shows .* one size only",
        ),
        (nn.Sequential(CONVOLUTION, Heads(), nn.Linear(4, 2)), "1.scores", "positions in an order that is not known"),
        (Resized(nn.Identity(), nn.Flatten(), nn.Linear(768, 2)), "layers.0", "does not follow that of the image"),
    ],
    ids=["flattened", "pooled and flattened", "fixed", "attention map", "resized, no map"],
)
def test_a_layout_that_nothing_shows_is_refused(network, site, reason):
    assert re.search(reason, layout(dv.wrap(network, 2), site, (3, 8, 8)))


@pytest.mark.parametrize(
    ("network", "site", "expected"),
    [
        (nn.Sequential(CONVOLUTION, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)), "1", "NCHW"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.ReLU(), nn.Linear(5, 2)), "2", "NC"),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), "2", "NC"),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2)), "2", "NCHW"),
        (nn.Sequential(CONVOLUTION, nn.AdaptiveAvgPool2d(1), ToLast(), nn.Flatten(), nn.Linear(4, 2)), "2", "NHWC"),
        (nn.Sequential(CONVOLUTION, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2)), "1", "NCT"),
        (Resized(CONVOLUTION, nn.ReLU(), nn.Flatten(), nn.Linear(784, 2)), "layers.1", "NCHW"),
        (Resized(CONVOLUTION, ToLast(), nn.ReLU(), nn.Flatten(), nn.Linear(784, 2)), "layers.2", "NHWC"),
    ],
    ids=["small", "fixed size", "pooled", "pooled to a map", "pooled, last", "positions", "resized", "channels last"],
)
def test_layouts_are_found_where_the_shape_shows_them(network, site, expected):
    assert layout(dv.wrap(network, 2), site, (3, 8, 8)) == expected


@pytest.mark.parametrize("given", [None, *Layout])
@pytest.mark.parametrize(
    ("site", "own"), [("input", "NCHW"), ("0", "NCHW"), ("1", "NHWC"), ("2", "NTC"), ("3", "NTC"), ("4", "NC")]
)
def test_a_given_layout_is_taken_only_if_it_is_that_of_the_value(site, own, given):
    network = nn.Sequential(CONVOLUTION, ToLast(), nn.Flatten(1, 2), nn.Linear(4, 4), MeanToken(), nn.Linear(4, 2))
    said = layout(dv.wrap(network, 2), site, (3, 8, 8), given=given)
    if given in (None, own):
        assert said == own
    else:
        assert said.startswith(f"layout must be that of site {site!r}, which is of shape (1, ")
        assert said.endswith(f"got {given.value}. Leave it out, or choose another layer.")


def test_a_measurement_refuses_before_it_edits_what_is_not_known():
    network = nn.Sequential(CONVOLUTION, nn.Flatten(2), nn.Linear(36, 2), nn.Flatten(), nn.Linear(8, 2)).train()
    with pytest.raises(ValueError, match=r"site '2' must be known, .* of shape \(1, 4, 2\), .*layout=NTC"):
        dv.effect_map(dv.wrap(network, 2), torch.rand(2, 3, 8, 8), Activation(site="2"))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
