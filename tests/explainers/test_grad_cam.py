"""Grad-CAM against the libraries that have it, and against the formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torchvision.models import DenseNet

from dovision.explainers.class_activation_maps import GradCAM
from dovision.interfaces import Classifier

TARGET = torch.tensor([2, 0, 1])


def test_the_map_is_captums_own(convolutional, images):
    classifier, batch = convolutional(), images(3, 3, 14, 14)
    captum = LayerGradCam(classifier, classifier.network[2])
    small = captum.attribute(batch.image, TARGET, relu_attributions=True)
    expected = F.interpolate(small, size=(14, 14), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(GradCAM("2")(batch, TARGET, classifier), expected.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", ["2", "3"])
def test_the_map_is_the_grad_cam_packages_own_but_for_its_stretching(layer, convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with package.GradCAM(classifier, [classifier.network.get_submodule(layer)]) as cam:
        expected = cam(batch.image, [ClassifierOutputTarget(wanted) for wanted in TARGET.tolist()])
    got = scale_cam_image(GradCAM(layer)(batch, TARGET, classifier).numpy())
    torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected), rtol=0, atol=1e-5)


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
