"""Errors of explainers: the call, and what its message says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.explainers import _layers
from dovision.explainers.attributions import IntegratedGradients, KernelSHAP, Occlusion, SmoothGrad
from dovision.explainers.class_activation_maps import ScoreCAM
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
            lambda: CombinedMap({"a": KernelSHAP(0), "b": PixelGrid(2, 2)}),
            r"explainers\.b must be an explainer such as",
        ),
        (lambda: CombinedMap({"a": KernelSHAP(0), "b": RISE(0)}), r"b\.scale must be log_odds, .* got probability\."),
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
        (lambda: KernelSHAP(0, draws=0), "draws must be"),
        (lambda: KernelSHAP(0, rows=0), "rows must be"),
        (lambda: KernelSHAP(0, fill=2.0), "fill must be"),
        (lambda: KernelSHAP(0, scale="logit"), "scale must be"),
        (lambda: KernelSHAP(0, rows=20).check(LINEAR, SHAPE), "at most 12 rows and 15 columns"),
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
        (lambda: SmoothGrad(0, draws=0), "draws must be"),
        (lambda: SmoothGrad(0, sigma=0.0), "sigma must be"),
        (lambda: SmoothGrad(0, batch_size=0), "batch_size must be"),
        (
            lambda: _layers.default_layer(LINEAR, torch.zeros(1, 3, 2, 2)),
            r"Sequential is not known\. No layer of it gives a map",
        ),
    ],
)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
