"""Every argument of every component refuses what it cannot mean, in a sentence.

The parts are found by glob, so that a new one is tested unlisted.
"""

import inspect
from typing import Any

import pytest
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

import dovision as dv
from dovision.config.sources import configuration_folder
from made_config import composed

GROUPS = ("attack", "autoencoder", "detector", "explainer", "fill", "intervention", "transform", "value")
PARTS = [f"{group}/{path.stem}" for group in GROUPS for path in sorted((configuration_folder() / group).glob("*.yaml"))]
ANY = {"a class": dict, "an object": object(), "true": True, "nan": float("nan")}
BY_TYPE = {
    "int": {"a fraction": 1.5, "below zero": -1, "text": "3", "nothing": None, "a list": [1]},
    "float": {"text": "wide", "nothing": None, "a list": [0.5], "infinity": float("inf")},
    "str": {"a number": 3, "nothing": None, "a list": ["linf"]},
}

SIGNED = ("transform/shift",)  # of which whole numbers may be below zero


def arguments(part: str) -> tuple[type, dict[str, Any]]:
    """The class of a part, and the arguments that its yaml gives it."""
    group, _, name = part.partition("/")
    node = composed(f"+{group}@part={name}", "+seed=3", "+autoencoder.after=relu1", command=None)["part"]
    given = {str(key): "nowhere" if OmegaConf.is_missing(node, key) else node[key] for key in node if key != "_target_"}
    for key, value in given.items():
        if OmegaConf.is_config(value):
            given[key] = None if OmegaConf.missing_keys(value) else instantiate(value, _convert_="all")
    return get_object(node["_target_"]), given


def message(kind: type, given: dict[str, Any], name: str, value: object) -> str:
    """Message for this value of an argument; empty if it is accepted."""
    try:
        kind(**{**given, name: value})
    except ValueError as error:
        return str(error)
    except FileNotFoundError:
        return f"{name} must be" if name == "eps" else ""  # the images that were kept come before their epsilons
    return ""


@pytest.mark.parametrize("part", PARTS)
def test_an_argument_that_means_nothing_is_refused_by_its_name(part):
    kind, given = arguments(part)
    answers = {
        (name, what): message(kind, given, name, value)
        for name, parameter in inspect.signature(kind).parameters.items()
        for what, value in (ANY | BY_TYPE.get(str(parameter.annotation), {})).items()
        if not (parameter.annotation == "bool" and value is True) and not (part in SIGNED and what == "below zero")
    }
    assert [asked for asked, answer in answers.items() if f"{asked[0]} must" not in answer] == []


CLASSIFIER, _ = dv.example()
GRID = dv.PixelGrid(2, 2)
COMBINATIONS = [  # of arguments that have the right types
    (lambda: dv.CombinedMap({"a": dv.RISE(0)}), "explainers must be at least two, got 1"),
    (lambda: dv.CombinedMap({"a": dv.Captum("LRP"), "b": dv.RISE(0)}), r"b\.scale must be log_odds"),
    (lambda: dv.EffectMap(dv.Activation("code")), "intervention must act on the image, .* got site 'code'"),
    (lambda: dv.BEYOND(dv.Activation("conv")), r"transforms the image \(site input\), got an intervention at 'conv'"),
    (lambda: dv.MLLOO(dv.Activation("conv"), None), r"parts of the image \(site input\), got site 'conv'"),
    (lambda: dv.IntegratedGradients(baselines=[]), "baselines must be at least one, got none"),
    (lambda: dv.Captum("DeepLift", layer="1"), "layer must be left out: DeepLift of captum has none"),
    (lambda: dv.Captum("Lime", arguments={"samples": 2}), "no key 'samples'. Did you mean n_samples"),
    (lambda: dv.Captum("Lime", cells=(2, 3, 4)), "cells must be one number or two, rows and columns"),
    (lambda: dv.CAM("LayerCAM", arguments={"model": None}), "arguments of LayerCAM has no key 'model'"),
    (lambda: dv.Occlusion(window=13).check(CLASSIFIER, (3, 12, 15)), "window must fit into the 12 x 15 image"),
    (lambda: dv.Occlusion(window=2, stride=3).check(CLASSIFIER, (3, 12, 15)), "at most the window.s 2 pixels"),
    (lambda: dv.FeatureSqueezing({}), "squeezers must be at least one, got none"),
    (lambda: dv.EffectProfile({}, "log_odds", False, 0.01), "interventions must be at least one, got none"),
    (lambda: dv.PytorchOOD("KNN", {"neighbours": 3}), "settings of KNN must be one of"),
    (lambda: dv.ConvAutoencoder("conv", [32, 16, 64], 1, 1), "must begin and end with the channels of the layer"),
    (lambda: dv.TopkSae("conv", 32, 4, 129, 100), "autoencoder.k must be a whole number from 1 to 128, got 129"),
]
TYPES = [  # wrong ones, told with their place and their annotation
    (lambda: dv.PixelGrid(2, 2, fill=dv.Constant), r"fill must be Fill, got the class Constant itself. Call it"),
    (lambda: dv.CombinedMap({"a": GRID}), "explainers.a must be Explainer, got an object of class PixelGrid"),
    (lambda: dv.Transform({3: dv.BitDepth(1)}), "each name of transforms must be text, got 3"),
    (lambda: dv.FGSM(eps=["8/255", None]), r"eps\[1\] must be float | str, got None"),
]


@pytest.mark.parametrize(("call", "rule"), COMBINATIONS + TYPES)
def test_arguments_that_do_not_fit_together_are_refused(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
