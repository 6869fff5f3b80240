"""Explainers on an image with two bright squares, one in red that says "a", one in green that says "b"."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.explainers.attributions import Captum, IntegratedGradients, Occlusion
from dovision.explainers.class_activation_maps import CAM, GradCAM, ScoreCAM
from dovision.explainers.effect_map import EffectMap
from dovision.interfaces import Classifier, Explainer
from dovision.interventions.fills import Blur, Constant, Mean
from dovision.interventions.pixel_grid import PixelGrid
from dovision.types import Batch, Box, Task

RED, GREEN = Box(4, 4, 10, 10), Box(18, 16, 24, 22)


@pytest.fixture
def classifier() -> Classifier:
    """The mean of each colour, two hundredfold: both classes are as likely."""
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.eye(3).reshape(3, 3, 1, 1))
        network[4].weight.copy_(200 * torch.eye(2, 3))
        for layer in (network[0], network[4]):
            layer.bias.zero_()
    return Classifier(network, Task("multiclass", ("a", "b")), (0.0,), (1.0,))


@pytest.fixture
def batch() -> Batch:
    image = torch.zeros(2, 3, 28, 28)
    image[:, 0, 4:10, 4:10] = image[:, 1, 18:24, 16:22] = 1
    image[:, 2] = 0.3
    return Batch(image, torch.zeros(2, dtype=torch.int64), torch.arange(2), torch.arange(2))


def explainers() -> list[Explainer]:
    made = [GradCAM("0"), ScoreCAM("0"), IntegratedGradients(), Occlusion(), Occlusion(window=4, stride=2)]
    made += [EffectMap(PixelGrid(14, 14, fill)) for fill in (Constant(0.0), Blur(4.0), Mean())]
    made += [
        EffectMap(PixelGrid(14, 14), scale="log_odds"),
        Captum("KernelShap", arguments={"n_samples": 200}, cells=7),
    ]
    return made


def found(explainer: Explainer, batch: Batch, classifier: Classifier) -> list[tuple[bool, bool]]:
    """Whether the highest value lies in each class's own square, and most of what is positive as well."""
    maps = explainer(batch, torch.tensor([0, 1]), classifier)
    judged = []
    for one, box in zip(maps, (RED, GREEN), strict=True):
        inside = torch.zeros_like(one, dtype=torch.bool)
        inside[box.top : box.bottom, box.left : box.right] = True
        positive = one.clamp(min=0)
        judged.append((bool(inside.flatten()[one.argmax()]), bool(positive[inside].sum() > positive[~inside].sum())))
    return judged


@pytest.mark.parametrize("explainer", explainers(), ids=lambda explainer: type(explainer).__name__)
def test_each_class_is_found_in_its_own_square(explainer, batch, classifier):
    assert found(explainer, batch, classifier) == [(True, True), (True, True)]


def test_grad_cam_plus_plus_finds_each_class_in_its_own_square(batch, classifier):
    pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    assert found(CAM("GradCAMPlusPlus", "0"), batch, classifier) == [(True, True), (True, True)]
