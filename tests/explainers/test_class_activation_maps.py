"""Grad-CAM, Grad-CAM++ and Score-CAM: as the libraries have them, and which layers they take or refuse."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import nn
from torchvision.models import DenseNet

from dovision.explainers.class_activation_maps import CAM, GradCAM, ScoreCAM
from dovision.interfaces import Classifier, Explainer
from dovision.models.conv_autoencoder import ConvAutoencoder, insert

TARGET = torch.tensor([2, 0, 1])
CAMS = ("EigenCAM", "EigenGradCAM", "GradCAMElementWise", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "XGradCAM")


@pytest.fixture(params=[GradCAM, ScoreCAM, "GradCAMPlusPlus", "LayerCAM"])
def kind(request) -> Callable[..., Explainer]:
    if isinstance(request.param, str):
        pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
        return partial(CAM, request.param)
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
    torch.testing.assert_close(GradCAM("2")(batch, TARGET, classifier), expected.detach(), rtol=0, atol=1e-5)


def test_on_a_densenet_the_channels_are_taken_before_its_last_relu_which_writes_in_place(convolutional, images):
    torch.manual_seed(0)
    network = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=3).eval()
    classifier = Classifier(network, convolutional().task, (0.5,), (0.25,))
    batch = images(3, 3, 64, 64)
    features = network.features((batch.image - 0.5) / 0.25).detach().requires_grad_()
    logits = network.classifier(features.relu().mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[torch.arange(3), TARGET].sum(), features)
    small = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()
    expected = F.interpolate(small, size=(64, 64), mode="bilinear", align_corners=False)[:, 0].detach()
    assert expected.amax() > 0
    torch.testing.assert_close(GradCAM()(batch, TARGET, classifier), expected, rtol=1e-5, atol=1e-5)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(ImportError, match=r"needs pytorch_grad_cam .* Install it: pip install '\.\[cam\]'"):
        CAM("GradCAMPlusPlus")


def test_masked_images_are_run_in_batches_and_the_map_does_not_depend_on_their_size(convolutional, images):
    classifier, batch = convolutional(), images(2, 3, 14, 14)
    expected = ScoreCAM("3")(batch, TARGET[:2], classifier)
    seen: list[int] = []
    classifier.network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    torch.testing.assert_close(ScoreCAM("3", batch_size=2)(batch, TARGET[:2], classifier), expected)
    assert seen == [2, *(2, 2, 1), *(2, 2, 1)]  # the images, and the five channels of each


@pytest.mark.parametrize("layer", ["2", "3"])
@pytest.mark.parametrize("name", [*CAMS, "own GradCAM", "own ScoreCAM"])
def test_the_map_is_the_grad_cam_packages_own_but_for_its_stretching(name, layer, convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier, batch = convolutional(), images(3, 3, 14, 14)
    name = name.removeprefix("own ")
    module = classifier.network.get_submodule(layer)
    explainers = (
        [CAM(name, layer), CAM(name, module)] if name in CAMS else [{"GradCAM": GradCAM}.get(name, ScoreCAM)(layer)]
    )
    with vars(package)[name](classifier, [module]) as cam:
        expected = cam(batch.image, [ClassifierOutputTarget(wanted) for wanted in TARGET.tolist()])
    assert expected.max() > 0
    for explainer in explainers:
        got = scale_cam_image(explainer(batch, TARGET, classifier).numpy())
        torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_an_object_of_grad_cam_is_taken_with_its_layer(convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with package.AblationCAM(classifier.network, [classifier.network[2]], batch_size=2) as cam:
        found = CAM(cam)(batch, TARGET, classifier)
        expected = CAM("AblationCAM", "2")(batch, TARGET, classifier)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    two = package.LayerCAM(classifier.network, [classifier.network[0], classifier.network[2]])
    with two, pytest.raises(ValueError, match=r"method must have one target layer, got 2\. Make one for each\."):
        CAM(two)


@pytest.mark.parametrize("name", ["AblationCAM", "ScoreCAM"])
def test_an_object_made_of_a_classifier_is_not_normalised_twice(name, convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with vars(package)[name](classifier, [classifier.network[2]]) as cam:
        found = CAM(cam)(batch, TARGET, classifier)
    torch.testing.assert_close(found, CAM(name, "2")(batch, TARGET, classifier), rtol=1e-4, atol=1e-5)


def test_an_object_keeps_no_pass_of_the_measurement_and_may_be_called_again(convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with package.ScoreCAM(classifier.network, [classifier.network[2]]) as cam:
        expected = cam(batch.image, None)
        explainer = CAM(cam)
        explainer(batch, TARGET, classifier)
        classifier(batch.image.requires_grad_()).sum().backward()
        assert not cam.activations_and_grads.activations
        assert not cam.activations_and_grads.gradients
        assert (cam(batch.image.detach(), None) == expected).all()


def test_no_bar_is_printed(convolutional, images, capsys):
    pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    for name in ("AblationCAM", "ScoreCAM"):
        CAM(name, "2")(images(3, 3, 14, 14), TARGET, convolutional())
    assert capsys.readouterr().err == ""
