"""Grad-CAM, Grad-CAM++ and Score-CAM: where they take a layer's output, and which layers they refuse."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models import DenseNet

from dovision.explainers.class_activation_maps import GradCAM, GradCAMPlusPlus, ScoreCAM
from dovision.interfaces import Classifier, Explainer
from dovision.models.conv_autoencoder import ConvAutoencoder, insert

TARGET = torch.tensor([2, 0, 1])


@pytest.fixture(params=[GradCAM, GradCAMPlusPlus, ScoreCAM])
def kind(request) -> type[Explainer]:
    if request.param is GradCAMPlusPlus:
        pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    return request.param


def test_a_relu_in_place_behind_the_layer_does_not_change_the_map(kind, convolutional, images):
    batch = images(3, 3, 12, 12)
    expected = kind("2")(batch, TARGET, convolutional())
    assert expected.amax() > 0
    torch.testing.assert_close(kind("2")(batch, TARGET, convolutional(inplace=True)), expected, rtol=1e-5, atol=1e-6)


def test_the_default_layer_of_a_known_network_is_the_one_named(kind, convolutional, images):
    torch.manual_seed(0)
    network = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=3)
    classifier = Classifier(network, convolutional().task, (0.5,), (0.25,)).eval()
    batch = images(3, 3, 64, 64)
    assert torch.equal(kind()(batch, TARGET, classifier), kind("features.norm5")(batch, TARGET, classifier))


def test_the_code_of_an_inserted_autoencoder_is_a_layer_too(kind, convolutional, images):
    classifier = convolutional()
    with_autoencoder = insert(classifier, ConvAutoencoder("1", (6, 4, 6), code=1, kernel_size=1), (3, 12, 12))
    batch = images(3, 3, 12, 12)
    by_site, by_name = (kind(name)(batch, TARGET, with_autoencoder) for name in ("code", "1.autoencoder.encoder"))
    assert by_site.shape == (3, 12, 12)
    assert torch.equal(by_site, by_name)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("4", r"layer '4' must give a map of the image, shape \(B, C, h, w\), got shape \(3, 5, 1, 1\)\. Choose a"),
        ("6", r"got shape \(3, 3\)\. Choose a layer that does \(layer=\.\.\.\); the last ones are 0, 1, 2, 3\."),
        ("11", r"layer must be one of the network's, got '11'\. Did you mean 1\?"),
        ("conv", r"layer must be one of the network's, got 'conv'\. Choose a layer"),
        (None, r"the default layer of a Sequential is not known\. Choose .* the last ones are 0, 1, 2, 3\."),
    ],
)
def test_a_layer_that_gives_no_map_is_refused_with_those_that_do(kind, layer, message, convolutional, images):
    with pytest.raises(ValueError, match=message):
        kind(layer)(images(3, 3, 12, 12), TARGET, convolutional())


def test_channels_last_give_the_map_that_channels_first_give(kind, convolutional, images):
    classifier = convolutional()

    class ChannelsLast(nn.Module):
        def forward(self, value):
            return value.permute(0, 2, 3, 1)

    turned = nn.Sequential(nn.Conv2d(3, 30, 3), ChannelsLast(), nn.Flatten(), nn.Linear(3000, 3))
    classifier.network = turned
    batch = images(3, 3, 12, 12)
    torch.testing.assert_close(kind("1")(batch, TARGET, classifier), kind("0")(batch, TARGET, classifier))


def test_no_hook_stays_behind_after_many_calls_or_a_failure(kind, convolutional, images):
    classifier = convolutional()
    batch = images(3, 3, 12, 12)
    for _ in range(20):
        kind("2")(batch, TARGET, classifier)
        with pytest.raises(ValueError):
            kind("6")(batch, TARGET, classifier)
    assert not any(module._forward_hooks or module._backward_hooks for module in classifier.modules())


def test_maps_of_zeros_and_of_nan_are_passed_on_as_they_are(kind, convolutional, images):
    classifier = convolutional()
    batch = images(3, 3, 12, 12)
    blind = copy.deepcopy(classifier)
    nn.init.zeros_(blind.network[2].weight)
    nn.init.zeros_(blind.network[2].bias)
    assert kind("2")(batch, TARGET, blind).count_nonzero() == 0
    nn.init.constant_(blind.network[2].bias, torch.nan)
    assert kind("2")(batch, TARGET, blind).isnan().all()
