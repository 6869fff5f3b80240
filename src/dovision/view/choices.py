"""Components that can be chosen on the page, by their names in conf/."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from dovision.config.sources import configuration_folder
from dovision.io.text_files import read_yaml
from dovision.measurement.by_name import component

_OFFERED = {
    "attack": ("fgsm", "mifgsm", "pgd", "apgd", "random_sign"),  # quick ones of the norm linf
    "value": ("zero", "mean", "resample", "noise"),  # that ask for no other image
}


def chosen_component(group: str, chosen: Mapping[str, Any], seed: int) -> Any:
    """Make a component as the commands do; cached.

    Args:
        group: such as fill.
        chosen: its name, and perhaps settings.
        seed: of what it draws.

    Raises:
        ValueError: there is no such component or setting.
    """
    settings = json.dumps(dict(chosen.get("settings") or {}), sort_keys=True)
    return _component(group, str(chosen["name"]), settings, seed)


@functools.lru_cache(maxsize=64)
def _component(group: str, name: str, settings: str, seed: int) -> Any:
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
