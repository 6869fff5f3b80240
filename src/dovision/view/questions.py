"""Requests of the page: what each key may contain, and the components of conf/ that can be chosen."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dovision import checks
from dovision.config.sources import configuration_folder
from dovision.functional.effects import SCALES
from dovision.io.text_files import read_yaml
from dovision.measurement.by_name import component

MOST_ROWS = 64  # of a grid
MOST_SETTING = 1000  # of a component: steps, restarts, pixels
_LINE = re.compile(r"(?!.*\$\{)[^\x00-\x1f]{0,4096}")  # text that refers to no other value
_Rule = Callable[[str, Any], Any]  # of a key and its value
_OFFERED = {
    "attack": ("fgsm", "mifgsm", "pgd", "apgd", "random_sign"),  # quick ones of the norm linf
    "value": ("zero", "mean", "noise"),  # that ask for no other image
}


def read_question(body: bytes) -> dict[str, Any]:
    """Validate a request: numbers within bounds, offered components, and texts.

    Raises:
        ValueError: the body is no JSON, a key is unknown, or a value is none of these.
    """
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the question must be an object of JSON, got something else: {error}.") from error
    return _object("the question", content, _QUESTION)


def _object(where: str, content: Any, rules: Mapping[str, _Rule]) -> dict[str, Any]:
    """Validate fields by their rules; null stands for a missing key."""
    given = checks.instance(where, content, dict, "an object of JSON")
    for key in given:
        if key not in rules:
            raise ValueError(checks.unknown_key(where, key[:40], rules))
    return {key: rules[key](key, value) for key, value in given.items() if value is not None}


def _component(group: str, content: Any) -> dict[str, Any]:
    name = checks.instance(group, content, dict, "an object of JSON").get("name")
    checks.choice(f"{group}.name", str(name)[:40], offered(group))
    settings = dict.fromkeys(numbers_of(group, name), _setting)
    rules: dict[str, _Rule] = {"name": _text, "settings": lambda key, value: _object(f"{group}.{key}", value, settings)}
    if group == "attack":
        rules["eps"] = lambda key, value: checks.epsilons([value], "linf") and value  # as it is written, such as 8/255
    return _object(group, content, rules)


def _setting(name: str, value: Any) -> Any:
    checks.within(name, value, -MOST_SETTING, MOST_SETTING)
    return value  # a whole number stays one


def _number(name: str, value: Any) -> int:
    return checks.bounded(name, value, 0, 2**31 - 1)


def _numbers(name: str, value: Any) -> list[int]:
    return [_number(name, item) for item in checks.instance(name, value, list, "a list")[:16]]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not _LINE.fullmatch(value):
        raise ValueError(f"{name} must be a line of at most 4096 letters, without ${{, got {str(value)[:80]!r}.")
    return value


def _runs(name: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,9}( [0-9]{1,9})*", value):
        raise ValueError(f"{name} must be lengths of runs of pixels, such as '12 3 209', got {str(value)[:80]!r}.")
    return value


_UNIT: Mapping[str, _Rule] = {"site": _text, "kind": _text, "number": _number, "value": _component}
_QUESTION: Mapping[str, _Rule] = {
    **dict.fromkeys(("image", "sample", "target"), _number),
    "site": _text,
    **dict.fromkeys(("fill", "attack"), _component),
    "unit": lambda name, value: _object(name, value, _UNIT),
    "mask": _runs,
    **dict.fromkeys(("images", "classes"), _numbers),
    "rows": lambda name, value: checks.bounded(name, value, 1, MOST_ROWS),
    "scale": lambda name, value: checks.choice(name, value, SCALES),
}


@functools.lru_cache(maxsize=64)
def component_of_page(group: str, name: str, settings: str, seed: int) -> Any:
    """Make a component as the commands do, of its name and of settings in JSON; ValueError if there is none."""
    return component(group, name, json.loads(settings), seed)


@functools.cache
def offered(group: str) -> tuple[str, ...]:
    """Names of a group's components offered on the page, a selection or all."""
    return _OFFERED.get(group) or tuple(sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml")))


@functools.cache
def numbers_of(group: str, name: str) -> dict[str, float]:
    """Adjustable numbers of a component, with their defaults."""
    content = read_yaml(configuration_folder() / group / f"{name}.yaml")
    return {key: value for key, value in content.items() if type(value) in (int, float)}
