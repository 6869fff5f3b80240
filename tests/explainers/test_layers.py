"""The default layer of known networks, and the candidates of others; networks without memory for their weights."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from dovision.explainers import _layers
from dovision.interfaces import Classifier
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.models.small_cnn import small_cnn
from dovision.models.small_resnet import small_resnet
from dovision.types import Task

DEFAULTS = {
    "alexnet": "features.11",
    "convnext_tiny": "features",
    "densenet121": "features",
    "efficientnet_b0": "features",
    "efficientnet_v2_s": "features",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "mnasnet0_5": "layers",
    "mobilenet_v2": "features",
    "mobilenet_v3_small": "features",
    "regnet_x_400mf": "trunk_output",
    "resnet18": "layer4",
    "resnext50_32x4d": "layer4",
    "shufflenet_v2_x0_5": "conv5",
    "squeezenet1_1": "features",
    "vgg11_bn": "features.27",
    "vgg16": "features.29",
    "vgg19": "features.35",
    "wide_resnet50_2": "layer4",
}
TIMM_DEFAULTS = {
    "convnext_atto": "stages.3",
    "densenet121": "features",
    "efficientnet_b0": "bn2",
    "inception_v3": "Mixed_7c",
    "mobilenetv3_small_050": "blocks.5",
    "regnetx_002": "s4",
    "resnet18": "layer4",
    "tf_efficientnet_lite0": "bn2",
    "vgg16": "features.29",
    "xception41": "blocks.12",
}
COLOURED = torch.zeros(1, 3, 224, 224, device="meta")


def classifier_of(network: nn.Module, classes: int = 2) -> Classifier:
    return Classifier(network, Task("multiclass", tuple(map(str, range(classes)))), (0.5,), (0.25,)).eval()


def of_torchvision(name: str) -> nn.Module:
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a regnet computes its widths with tensors
        return torchvision.models.get_model(name, **settings)


@pytest.mark.slow
def test_the_default_layer_of_each_kind_of_torchvision_network():
    classifiers = {name: classifier_of(of_torchvision(name), classes=1000).to("meta") for name in DEFAULTS}
    assert {name: _layers.default_layer(one, COLOURED) for name, one in classifiers.items()} == DEFAULTS
    assert all(DEFAULTS[name] in _layers.candidates(one, COLOURED) for name, one in classifiers.items())


@pytest.mark.slow
def test_the_default_layer_of_timms_networks():
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    with torch.device("meta"):
        classifiers = {name: classifier_of(timm.create_model(name), classes=1000) for name in TIMM_DEFAULTS}
    assert {name: _layers.default_layer(one, COLOURED) for name, one in classifiers.items()} == TIMM_DEFAULTS
    assert all(TIMM_DEFAULTS[name] in _layers.candidates(one, COLOURED) for name, one in classifiers.items())


@pytest.mark.parametrize(
    ("make", "layer"), [(small_cnn, "relu2"), (lambda *arguments: small_resnet(4, *arguments), "stage3")]
)
def test_the_default_layer_of_the_small_networks_also_with_an_autoencoder_inserted(make, layer):
    shape = (1, 28, 28)
    classifier = make(shape, "multiclass", ["a", "b"], [0.5], [0.5])
    assert _layers.default_layer(classifier, torch.zeros(1, *shape)) == layer
    channels = 64 if layer == "relu2" else 16
    with_autoencoder = insert(classifier, ConvAutoencoder(layer, (channels, 4, channels), code=1, kernel_size=1), shape)
    assert _layers.default_layer(with_autoencoder, torch.zeros(1, *shape)) == layer


def test_a_known_network_is_found_inside_another_module():
    with torch.device("meta"):
        wrapped = nn.Sequential(nn.Identity(), torchvision.models.resnet18())
    assert _layers.default_layer(classifier_of(wrapped), COLOURED) == "1.layer4"


def test_the_default_layer_of_transformers_is_the_last_at_which_the_class_depends_on_patches():
    with torch.device("meta"):
        networks = [torchvision.models.vit_b_32(num_classes=2), torchvision.models.swin_t(num_classes=2)]
    layers = [_layers.default_layer(classifier_of(network), COLOURED) for network in networks]
    assert layers == ["encoder.layers.encoder_layer_11.ln_1", "features"]
