"""Settings hold the rules of all keys: what the yaml files declare, and what no key may be."""

import re

import pytest
from omegaconf import OmegaConf
from pydantic import BaseModel, ValidationError

from dovision.config import settings
from made_config import composed


def fields(kind: type[BaseModel], where: str = "") -> set[str]:
    found = set()
    for name, field in kind.model_fields.items():
        inner, path = field.annotation, f"{where}{name}"
        is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
        found |= fields(inner, f"{path}.") if is_section else {path}
    return found


def declared(node, kinds: set[str], where: str = "") -> set[str]:
    """The keys of a configuration; not into those that are fields as a whole."""
    found = set()
    for key in node:
        path = f"{where}{key}"
        found |= {path} if path in kinds else declared(node[key], kinds, f"{path}.")
    return found


@pytest.mark.parametrize("command", settings.OF_COMMAND)
def test_the_yaml_files_declare_the_keys_that_the_settings_do(command):
    kinds = fields(settings.OF_COMMAND[command])
    assert declared(composed(command=command), kinds) == kinds


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=-1", "seed: Input should be greater than or equal to 0, got -1."),
        ("evaluation.images='5:3'", "evaluation.images must be a number of images, or a range start:stop with"),
        ("detection.adaptive.eps=2", "detection.adaptive.eps: eps must be in [0, 1] pixel units, got 2."),
        ("detection.adaptive.eps=[]", "detection.adaptive.eps: eps must name at least one value, got []."),
        ("+detection.families.pgd=[a,a]", "detection.families.pgd must name each once, got ['a', 'a']."),
        ("+detection.seen.pgd=two", "detection.seen.pgd: eps must be"),
        ("+detection.attacks.x=3", "Choose what it is by its group (attack@detection.attacks.x=NAME)."),
        ("training.classifier.optimizer=adam", "Give it a _target_ (training.classifier.optimizer._target_=...)."),
        ("output_root=", "output_root must not be empty."),
        ("model.classes=['0','']", "model.classes.1 must not be empty. Give it a value, or leave it out."),
        ("rerun=al", "rerun: Input should be 'failed', 'all', 'unfinished' or 'none', got 'al'. Did you mean all?"),
        ("trainer.inference_mode=true", "trainer.inference_mode must be false, since attacks and gradient maps need"),
        ("trainer.precision=bf16-true", "trainer.precision must be 32-true, 64-true or mixed to measure effects, got"),
        ("~model", "model must be there, got nothing."),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_the_rule_and_what_was_got(override, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        settings.read("evaluate", composed(override))


def test_settings_are_frozen_and_in_plain_types_what_was_composed():
    config = composed("dataset=digits", "detector=[entropy]", "+attack@detection.attacks.pgd=pgd")
    own = settings.read("evaluate", config)
    with pytest.raises(ValidationError):
        own.seed = 3
    with pytest.raises(ValidationError):
        own.evaluation.images = 3
    with pytest.raises(TypeError):
        own.dataset["root"] = "elsewhere"
    plain, expected = settings.to_dict(own), OmegaConf.to_container(config, resolve=True)
    adaptive = plain["detection"]["adaptive"]
    assert adaptive.pop("eps") == [8 / 255]
    assert expected["detection"]["adaptive"].pop("eps") == "8/255"
    assert plain == expected


def test_a_component_is_made_from_plain_arguments_and_names_itself_when_it_refuses_them():
    config = composed("dataset=digits", "intervention.rows=3", "intervention.columns=10")
    assert len(settings.read("evaluate", config).intervention.make().units((1, 32, 32))) == 3 * 10
    config.intervention.rows = 0
    with pytest.raises(ValueError, match=r"^intervention: rows must be a whole number of at least 1, got 0"):
        settings.read("evaluate", config).intervention.make()
