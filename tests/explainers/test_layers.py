"""Layers of class-activation maps: the default of each network, channels last, and tokens of transformers."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

from dovision.explainers import _layers
from dovision.explainers.class_activation_maps import GradCAM
from dovision.interfaces import Classifier
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.models.small_cnn import small_cnn
from dovision.models.small_resnet import small_resnet
from dovision.types import Batch, Task

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


TASK = Task("multiclass", ("a", "b", "c"))


def batch_of(size: int) -> Batch:
    number = torch.arange(2)
    return Batch(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(4)), number, number, number)


def vision_transformer() -> Classifier:
    torch.manual_seed(1)
    network = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=24, num_classes=3)
    nn.init.normal_(network.heads.head.weight)
    return Classifier(network, TASK, (0.5,), (0.2,)).eval()


def swin() -> Classifier:
    torch.manual_seed(1)
    network = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3)
    nn.init.normal_(network.head.weight)
    return Classifier(network, TASK, (0.5,), (0.2,)).eval()


def grad_cam_by_hooks(classifier: Classifier, module: nn.Module, batch: Batch, as_map) -> torch.Tensor:
    """Worked out with a hook of its own; `as_map` puts values of the module into (B, C, h, w)."""
    found = []
    with module.register_forward_hook(lambda module, args, output: found.append(output)):
        logits = classifier(batch.image.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(logits.gather(1, batch.label[:, None]).sum(), found[0])
    weight = as_map(gradient).mean((2, 3), keepdim=True)
    return (weight * as_map(found[0])).sum(1).clamp(min=0).detach()


def test_grad_cam_of_a_vision_transformer_puts_patches_where_they_lie():
    classifier, batch = vision_transformer(), batch_of(32)
    norm = classifier.network.encoder.layers.encoder_layer_1.ln_1
    expected = grad_cam_by_hooks(classifier, norm, batch, lambda value: value[:, 1:].mT.reshape(2, 12, 4, 4))
    for layer in (None, "encoder.layers.encoder_layer_1.ln_1"):
        GradCAM(layer).check(classifier, (3, 32, 32))
        torch.testing.assert_close(GradCAM(layer).run(batch, batch.label, classifier), expected)
    assert expected.std((1, 2)).max() > 0


def test_grad_cam_of_tokens_takes_one_forward_pass():
    classifier, batch, passes = vision_transformer(), batch_of(32), []
    explainer = GradCAM()
    explainer(batch, batch.label, classifier)  # finds the layout
    with classifier.register_forward_hook(lambda *_: passes.append(1)):
        explainer(batch, batch.label, classifier)
    assert len(passes) == 1


def test_grad_cam_of_a_swin_moves_the_channels():
    classifier, batch = swin(), batch_of(64)
    last = classifier.network.features
    expected = grad_cam_by_hooks(classifier, last, batch, lambda value: value.movedim(-1, 1))
    torch.testing.assert_close(GradCAM().run(batch, batch.label, classifier), expected)


def test_grad_cam_of_a_mixer_puts_its_tokens_where_they_lie():
    mixer = pytest.importorskip("timm.models.mlp_mixer", reason="the extra timm is not installed")
    torch.manual_seed(1)
    network = mixer.MlpMixer(3, img_size=32, patch_size=8, num_blocks=2, embed_dim=12)
    nn.init.normal_(network.head.weight)  # timm's own is zero, of which each map is
    classifier, batch = Classifier(network, TASK, (0.5,), (0.2,)).eval(), batch_of(32)
    expected = grad_cam_by_hooks(classifier, network.blocks[1], batch, lambda value: value.mT.reshape(2, 12, 4, 4))
    assert expected.std((1, 2)).min() > 0
    torch.testing.assert_close(GradCAM().run(batch, batch.label, classifier), expected)


def test_a_layer_behind_which_the_class_token_alone_is_read_is_refused():
    classifier, batch = vision_transformer(), batch_of(32)
    with pytest.raises(ValueError, match=r"the class must depend on the patches of layer .*read its class token alone"):
        GradCAM("encoder.layers.encoder_layer_1").run(batch, batch.label, classifier)


@pytest.mark.parametrize(("name", "layer"), [("vit_tiny_patch16_224", "blocks.1.norm1"), ("swin_tiny", "layers.1")])
def test_the_default_layer_of_timms_transformers(name, layer):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    settings = {"depth": 2} if name.startswith("vit") else {"depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    name = name if name.startswith("vit") else "swin_tiny_patch4_window7_224"
    classifier = Classifier(timm.create_model(name, img_size=64, **settings), TASK, (0.5,), (0.2,)).eval()
    classifier.task = Task("multiclass", tuple(map(str, range(1000))))
    batch = batch_of(64)
    maps = GradCAM().run(batch, batch.label, classifier)
    assert torch.equal(maps, GradCAM(layer).run(batch, batch.label, classifier))
    assert maps.any()
