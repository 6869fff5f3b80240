"""Errors of detectors: the call, and what its message says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.detectors._profile import Profile
from dovision.detectors.beyond import BEYOND
from dovision.detectors.confidence import MaxSoftmax
from dovision.detectors.effect_consistency import EffectConsistency
from dovision.detectors.effect_profile import EffectProfile
from dovision.detectors.feature_squeezing import FeatureSqueezing
from dovision.detectors.ml_loo import MLLOO, LayerFeatures
from dovision.detectors.pytorch_ood import PytorchOOD
from dovision.interfaces import Classifier
from dovision.interventions.activation import Activation
from dovision.interventions.pixel_grid import PixelGrid
from dovision.types import Task

from .conftest import batch_of, images, made

GRID = {"grid": PixelGrid(2, 2)}
CHANNELS = Activation("conv1", "channel")
RELU = nn.ReLU()
BOOSTING = {"resolution": 0.01, "trees": 80, "learning_rate": 0.08, "leaves": 8, "penalty": 1.0}


def classifier_of(*layers: nn.Module) -> Classifier:
    return Classifier(nn.Sequential(*layers), Task("multiclass", ("a", "b", "c")), (0.5,), (0.5,)).double()


TWICE = classifier_of(nn.Conv2d(1, 2, 3), RELU, nn.Conv2d(2, 2, 3), RELU, nn.Flatten(), nn.Linear(200, 3))
WITHOUT_LAYERS, NOT_LINEAR = classifier_of(nn.Flatten()), classifier_of(nn.Conv2d(1, 3, 14), nn.Flatten())


def read_layers(names: list[str] | None, classifier: Classifier | None = None) -> object:
    return LayerFeatures(names)(images(1), classifier or made("multiclass")[0])


def consistency(**changed: object) -> EffectConsistency:
    return EffectConsistency(GRID, **{**BOOSTING, **changed}, hidden=8, steps=10, seed=0)


def profile(summaries: bool = False, resolution: float = 0.01) -> EffectProfile:
    return EffectProfile(GRID, "log_odds", summaries, resolution)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FeatureSqueezing([], []), "needs a squeezer, got none. Give bits, windows or smoothings"),
        (lambda: FeatureSqueezing([], [], [{"h": 0.1}]), "smoothings must have patch_size, patch_distance, h, got h"),
        (
            lambda: FeatureSqueezing([], [], [{"patch_size": 2, "patch_distance": 5, "h": 0.1}]),
            "patch_size must be odd, got 2",
        ),
        (
            lambda: FeatureSqueezing([1], [2], score="regression").fit(torch.rand(5, 3), torch.rand(5, 4)),
            r"needs the same features of clean and attacked images, got \(3,\) and \(4,\)",
        ),
        (lambda: FeatureSqueezing([1], [], score="max"), "score must be one of largest, regression, got 'max'"),
        (lambda: MaxSoftmax("both"), "score must be one of unsure, sure, either, got 'both'"),
        (lambda: read_layers(["conv3"]), r"has no site 'conv3'\. Did you mean conv"),
        (lambda: read_layers(["input"]), "layers must be layers of the network, got 'input'"),
        (lambda: read_layers(["1"], TWICE), "layer '1' must run once in a forward pass, got 2 runs"),
        (
            lambda: read_layers(None, WITHOUT_LAYERS),
            "must have convolutions or linear layers, got none. Name its layers",
        ),
        (lambda: MLLOO(CHANNELS, None), r"parts of the image \(site input\), got site 'conv1'"),
        (lambda: BEYOND(CHANNELS), r"transforms the image \(site input\), got an intervention at 'conv1'"),
        (
            lambda: profile().fit(torch.ones(5, 6), torch.ones(0, 6)),
            "must differ between clean images of a class, got the same",
        ),
        (lambda: profile(resolution=0), "resolution must be above 0, got 0"),
        (lambda: Profile({}, "log_odds"), "needs an intervention, got none"),
        (lambda: Profile(GRID, "logodds"), "scale must be .*, got 'logodds'. Did you mean log_odds"),
        (lambda: consistency(trees=0), "trees must be a whole number of at least 1"),
        (lambda: consistency(leaves=1), "leaves must be a whole number from 2"),
        (lambda: consistency(resolution=0), "resolution must be above 0, got 0"),
        (lambda: consistency(learning_rate=-1), "learning_rate must be above 0"),
        (lambda: consistency(penalty=-1), "penalty must be at least 0"),
        (lambda: PytorchOOD("ODINN"), "method must be one of"),
        (lambda: PytorchOOD("KNN", {"neighbours": 3}), "settings of KNN must be one of"),
        (
            lambda: PytorchOOD("EnergyBased").read(batch_of(images(2)), made("multilabel")[0]),
            "got a multilabel task. For such tasks choose KNN or MaxLogit",
        ),
        (
            lambda: PytorchOOD("KNN").read(batch_of(images(2)), NOT_LINEAR),
            "must end in a linear layer that gives the logits",
        ),
    ],
)
def test_it_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
