"""Grad-CAM, Grad-CAM++ and Score-CAM: as the libraries have them, and which layers they take or refuse."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from captum.attr import LayerGradCam
from torch import nn
from torchvision.models import DenseNet, SwinTransformer

import dovision as dv
import made_batches
from dovision.explainers import _layers
from dovision.models.conv_autoencoder import insert

from .conftest import vision_transformer

TARGET = torch.tensor([2, 0, 1])
CAMS = ("EigenCAM", "EigenGradCAM", "GradCAMElementWise", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "XGradCAM")


@pytest.fixture(params=[dv.GradCAM, "ScoreCAM", "LayerCAM"])
def kind(request) -> Callable[..., dv.Explainer]:
    if isinstance(request.param, str):
        pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
        return partial(dv.CAM, request.param)
    return request.param


def test_a_relu_in_place_behind_the_layer_does_not_change_the_map(kind, convolutional, images):
    batch = images(3, 3, 12, 12)
    expected = kind("2")(batch, TARGET, convolutional())
    assert expected.amax() > 0
    torch.testing.assert_close(kind("2")(batch, TARGET, convolutional(inplace=True)), expected, rtol=1e-5, atol=1e-6)


def test_the_default_layer_of_a_known_network_is_the_one_named(kind, convolutional, images):
    torch.manual_seed(0)
    network = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=3)
    classifier = dv.Classifier(network, convolutional().task, (0.5,), (0.25,)).eval()
    batch = images(3, 3, 64, 64)
    assert torch.equal(kind()(batch, TARGET, classifier), kind("features.norm5")(batch, TARGET, classifier))


def test_the_code_of_an_inserted_autoencoder_is_a_layer_too(kind, convolutional, images):
    classifier = convolutional()
    with_autoencoder = insert(classifier, dv.ConvAutoencoder("1", (6, 4, 6), code=1, kernel_size=1), (3, 12, 12))
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
    ],
)
def test_a_layer_that_gives_no_map_is_refused_with_those_that_do(kind, layer, message, convolutional, images):
    with pytest.raises(ValueError, match=message):
        kind(layer)(images(3, 3, 12, 12), TARGET, convolutional())


def test_maps_of_zeros_and_of_nan_are_passed_on_as_they_are(kind, convolutional, images):
    classifier = convolutional()
    batch = images(3, 3, 12, 12)
    blind = copy.deepcopy(classifier)
    nn.init.zeros_(blind.network[2].weight)
    nn.init.zeros_(blind.network[2].bias)
    assert kind("2")(batch, TARGET, blind).count_nonzero() == 0
    nn.init.constant_(blind.network[2].bias, torch.nan)
    assert kind("2")(batch, TARGET, blind).isnan().all()


def test_the_map_is_captums_own(convolutional, images):
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    captum = LayerGradCam(classifier, classifier.network[2])
    small = captum.attribute(batch.image, TARGET, relu_attributions=True)
    expected = F.interpolate(small, size=(14, 14), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(dv.GradCAM("2")(batch, TARGET, classifier), expected.detach(), rtol=0, atol=1e-5)


def test_on_a_densenet_the_channels_are_taken_before_its_last_relu_which_writes_in_place(convolutional, images):
    torch.manual_seed(0)
    network = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=3).eval()
    classifier = dv.Classifier(network, convolutional().task, (0.5,), (0.25,))
    batch = images(3, 3, 64, 64)
    features = network.features((batch.image - 0.5) / 0.25).detach().requires_grad_()
    logits = network.classifier(features.relu().mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[torch.arange(3), TARGET].sum(), features)
    small = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()
    expected = F.interpolate(small, size=(64, 64), mode="bilinear", align_corners=False)[:, 0].detach()
    assert expected.amax() > 0
    torch.testing.assert_close(dv.GradCAM()(batch, TARGET, classifier), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", ["2", "3"])
@pytest.mark.parametrize("name", [*CAMS, "own GradCAM"])
def test_the_map_is_the_grad_cam_packages_own_but_for_its_stretching(name, layer, convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier, batch = convolutional(), images(3, 3, 14, 14)
    name = name.removeprefix("own ")
    module = classifier.network.get_submodule(layer)
    explainers = [dv.CAM(name, layer), dv.CAM(name, module)] if name in CAMS else [dv.GradCAM(layer)]
    with vars(package)[name](classifier, [module]) as cam:
        expected = cam(batch.image, [ClassifierOutputTarget(wanted) for wanted in TARGET.tolist()])
    assert expected.max() > 0
    for explainer in explainers:
        got = scale_cam_image(explainer(batch, TARGET, classifier).numpy())
        torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("AblationCAM", lambda classifier: classifier.network),
        ("AblationCAM", lambda classifier: classifier),
        ("ScoreCAM", lambda classifier: classifier),
    ],
)
def test_an_object_of_grad_cam_is_taken_with_its_layer_and_normalises_once(name, of, convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with vars(package)[name](of(classifier), [classifier.network[2]]) as cam:
        found = dv.CAM(cam)(batch, TARGET, classifier)
    torch.testing.assert_close(found, dv.CAM(name, "2")(batch, TARGET, classifier), rtol=1e-4, atol=1e-5)
    two = package.LayerCAM(classifier.network, [classifier.network[0], classifier.network[2]])
    with two, pytest.raises(ValueError, match=r"method must have one target layer, got 2\. Make one for each\."):
        dv.CAM(two)


@pytest.mark.parametrize("stride", [1, 2])
def test_smoothed_maps_are_those_of_a_call_in_the_package(stride):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, stride, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    network(torch.zeros(1, 3, 8, 8))
    classifier, batch = classifier_of(network, 3), made_batches.batch_of(torch.rand(3, 3, 8, 8))
    smoothing = {"aug_smooth": True, "eigen_smooth": True}
    with package.LayerCAM(network, [network[1]]) as cam:
        own = cam((batch.image - 0.5) / 0.25, [ClassifierOutputTarget(wanted) for wanted in TARGET], **smoothing)
        objects = [dv.CAM("LayerCAM", "1", smoothing), dv.CAM(cam, arguments=smoothing)]
        for explainer in objects:
            maps = explainer(batch, TARGET, classifier)
            torch.testing.assert_close(maps, torch.from_numpy(own), rtol=0, atol=1e-4)


def test_an_object_keeps_no_pass_of_the_measurement_and_may_be_called_again(convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with package.ScoreCAM(classifier.network, [classifier.network[2]]) as cam:
        expected = cam(batch.image, None)
        explainer = dv.CAM(cam)
        explainer(batch, TARGET, classifier)
        classifier(batch.image.requires_grad_()).sum().backward()
        assert not cam.activations_and_grads.activations
        assert not cam.activations_and_grads.gradients
        assert (cam(batch.image.detach(), None) == expected).all()


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


def classifier_of(network: nn.Module, classes: int = 2) -> dv.Classifier:
    return dv.Classifier(network, dv.Task("multiclass", tuple(map(str, range(classes)))), (0.5,), (0.25,)).eval()


def of_torchvision(name: str) -> nn.Module:
    settings = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a regnet computes its widths with tensors
        return torchvision.models.get_model(name, **settings)


def test_the_default_layer_of_each_kind_of_torchvision_network():
    classifiers = {name: classifier_of(of_torchvision(name), classes=1000).to("meta") for name in DEFAULTS}
    assert {name: _layers.default_layer(one, COLOURED) for name, one in classifiers.items()} == DEFAULTS
    assert all(DEFAULTS[name] in _layers.candidates(one, COLOURED) for name, one in classifiers.items())


@pytest.mark.parametrize(
    ("make", "layer"), [(dv.small_cnn, "relu2"), (lambda *arguments: dv.small_resnet(4, *arguments), "stage3")]
)
def test_the_default_layer_of_the_small_networks_also_with_an_autoencoder_inserted(make, layer):
    shape = (1, 28, 28)
    classifier = make(shape, "multiclass", ["a", "b"], [0.5], [0.5])
    assert _layers.default_layer(classifier, torch.zeros(1, *shape)) == layer
    channels = 64 if layer == "relu2" else 16
    with_autoencoder = insert(
        classifier, dv.ConvAutoencoder(layer, (channels, 4, channels), code=1, kernel_size=1), shape
    )
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


TASK = dv.Task("multiclass", ("a", "b", "c"))


def batch_of(size: int) -> dv.Batch:
    return made_batches.batch_of(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(4)))


def grad_cam_by_hooks(classifier: dv.Classifier, module: nn.Module, batch: dv.Batch, as_map) -> torch.Tensor:
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
        dv.GradCAM(layer).check(classifier, (3, 32, 32))
        torch.testing.assert_close(dv.GradCAM(layer).run(batch, batch.label, classifier), expected)
    assert expected.std((1, 2)).max() > 0


def test_grad_cam_of_a_swin_moves_the_channels():
    torch.manual_seed(1)
    network = SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3)
    nn.init.normal_(network.head.weight)
    classifier, batch = dv.Classifier(network, TASK, (0.5,), (0.2,)).eval(), batch_of(64)
    last = classifier.network.features
    expected = grad_cam_by_hooks(classifier, last, batch, lambda value: value.movedim(-1, 1))
    torch.testing.assert_close(dv.GradCAM().run(batch, batch.label, classifier), expected)


def test_grad_cam_of_a_mixer_puts_its_tokens_where_they_lie():
    mixer = pytest.importorskip("timm.models.mlp_mixer", reason="the extra timm is not installed")
    torch.manual_seed(1)
    network = mixer.MlpMixer(3, img_size=32, patch_size=8, num_blocks=2, embed_dim=12)
    nn.init.normal_(network.head.weight)  # timm's own is zero, of which each map is
    classifier, batch = dv.Classifier(network, TASK, (0.5,), (0.2,)).eval(), batch_of(32)
    expected = grad_cam_by_hooks(classifier, network.blocks[1], batch, lambda value: value.mT.reshape(2, 12, 4, 4))
    assert expected.std((1, 2)).min() > 0
    torch.testing.assert_close(dv.GradCAM().run(batch, batch.label, classifier), expected)


def test_a_layer_behind_which_the_class_token_alone_is_read_is_refused():
    classifier, batch = vision_transformer(), batch_of(32)
    with pytest.raises(ValueError, match=r"the class must depend on the patches of layer .*read its class token alone"):
        dv.GradCAM("encoder.layers.encoder_layer_1").run(batch, batch.label, classifier)


@pytest.mark.parametrize(("name", "layer"), [("vit_tiny_patch16_224", "blocks.1.norm1"), ("swin_tiny", "layers.1")])
def test_the_default_layer_of_timms_transformers(name, layer):
    timm = pytest.importorskip("timm", reason="the extra timm is not installed")
    settings = {"depth": 2} if name.startswith("vit") else {"depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
    name = name if name.startswith("vit") else "swin_tiny_patch4_window7_224"
    classifier = dv.Classifier(timm.create_model(name, img_size=64, **settings), TASK, (0.5,), (0.2,)).eval()
    classifier.task = dv.Task("multiclass", tuple(map(str, range(1000))))
    batch = batch_of(64)
    maps = dv.GradCAM().run(batch, batch.label, classifier)
    assert torch.equal(maps, dv.GradCAM(layer).run(batch, batch.label, classifier))
    assert maps.any()
