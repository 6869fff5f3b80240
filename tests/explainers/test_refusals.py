"""Errors of explainers: the call, and what its message says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.explainers import _layers
from dovision.explainers.attributions import Captum, IntegratedGradients, Occlusion
from dovision.explainers.class_activation_maps import CAM, ScoreCAM
from dovision.explainers.combined_map import CombinedMap
from dovision.explainers.controls import CenterMap
from dovision.explainers.effect_map import EffectMap
from dovision.explainers.rise import RISE
from dovision.interventions.activation import Activation
from dovision.interventions.pixel_grid import PixelGrid

from .conftest import classifier_of

LINEAR = classifier_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
SHAPE = (3, 12, 15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CenterMap(sigma=0), "sigma must be above 0, got 0"),
        (lambda: CombinedMap({"a": RISE(0)}), "explainers must be at least two, got 1"),
        (
            lambda: CombinedMap({"a": Captum("LRP"), "b": PixelGrid(2, 2)}),
            r"explainers\.b must be an explainer such as",
        ),
        (lambda: CombinedMap({"a": Captum("LRP"), "b": RISE(0)}), r"b\.scale must be log_odds, .* got probability\."),
        (lambda: EffectMap(Activation("code")), "intervention must act on the image, .* got site 'code'"),
        (lambda: IntegratedGradients(cells=15).check(LINEAR, (3, 14, 14)), "at most 14 rows and 14 columns"),
        (lambda: IntegratedGradients(steps=0), "steps must be a whole number of at least 1, got 0"),
        (lambda: IntegratedGradients(baselines=[]), "baselines must be at least one, got none"),
        (
            lambda: IntegratedGradients(baselines=[-1.0]),
            r"baselines must be a number in \[0, 1\], got -1.0. It is in pixel",
        ),
        (lambda: IntegratedGradients(cells=0), "cells must be"),
        (lambda: IntegratedGradients(batch_size=0), "batch_size must be"),
        (lambda: Captum("DeepLyft"), r"method must be one of .*, got 'DeepLyft'\. Did you mean DeepLift"),
        (lambda: Captum("NeuronGradient"), r"method must be one of .*, got 'NeuronGradient'"),
        (lambda: Captum(nn.Linear), r"method must be one of captum's, got the class Linear itself"),
        (lambda: Captum("DeepLift", layer="1"), "layer must be left out: DeepLift of captum has none"),
        (
            lambda: Captum("Lime", arguments={"samples": 2}),
            "arguments of Lime has no key 'samples'. Did you mean n_samples",
        ),
        (lambda: Captum("Lime", arguments={"n_samples": 0}), "n_samples must be a whole number of at least 1, got 0"),
        (lambda: Captum("Lime", arguments={"baselines": 255}), r"baselines must be a number in \[0, 1\], got 255"),
        (
            lambda: Captum("Lime", cells=(2, 3, 4)),
            r"cells must be one number or two, rows and columns, got \(2, 3, 4\)",
        ),
        (lambda: Captum("Lime", cells=0), "cells must be a whole number of at least 1"),
        (lambda: Captum("Lime", scale="logit"), "scale must be .*, got 'logit'. Did you mean logits"),
        (lambda: Captum("Lime", cells=20).check(LINEAR, SHAPE), "at most 12 rows and 15 columns"),
        (lambda: CAM("LayerCam"), r"method must be one of AblationCAM, .*, got 'LayerCam'\. Did you mean LayerCAM"),
        (lambda: CAM("FullGrad"), r"method must be one of .*, got 'FullGrad'"),
        (lambda: CAM(nn.Linear), r"method must be one of .*, got 'Linear'"),
        (lambda: CAM("LayerCAM", arguments={"model": None}), "arguments of LayerCAM has no key 'model'"),
        (lambda: Occlusion(window=0), "window must be a whole number of at least 1, got 0"),
        (lambda: Occlusion(window=13).check(LINEAR, SHAPE), "window must fit into the 12 x 15 image, got 13 pixels"),
        (
            lambda: Occlusion(window=2, stride=3).check(LINEAR, SHAPE),
            "stride must be at most the window's 2 pixels, .* got 3",
        ),
        (lambda: Occlusion(fill=255), r"fill must be a number in \[0, 1\], got 255. It is in pixel units"),
        (lambda: Occlusion(scale="logodds"), "scale must be .*, got 'logodds'. Did you mean log_odds"),
        (lambda: RISE(0, masks=0), "masks must be"),
        (lambda: RISE(0, cells=0), "cells must be"),
        (lambda: RISE(0, shown=2.0), "shown must be"),
        (lambda: RISE(0, scale="logit"), "scale must be"),
        (lambda: ScoreCAM(batch_size=0), "batch_size must be a whole number of at least 1, got 0"),
        (
            lambda: _layers.default_layer(LINEAR, torch.zeros(1, 3, 2, 2)),
            r"Sequential is not known\. No layer of it gives a map",
        ),
    ],
)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
