"""Every argument of every attack, intervention, fill, transform and value refuses what it cannot mean, in a sentence.

The parts are found by glob, so that a new one is tested unlisted.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder

GROUPS = ("attack", "intervention", "fill", "value", "transform")
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
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        node = compose(overrides=[f"+{group}={name}", "+seed=3", "+autoencoder.after=relu1"])[group]
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
