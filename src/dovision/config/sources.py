"""Sources of the configuration: their paths, and what of them may be written out."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.resolvers import oc

from dovision.config.component_names import configuration_folder as configuration_folder
from dovision.config.component_names import hydra_targets
from dovision.io.text_files import read_yaml

# Hydra 1.3 warns where version_base is not given, Hydra 1.4 where it is, or where no list says what Hydra may make.
_IS_HYDRA_1_3 = version("hydra-core").startswith("1.3.")
HYDRA_DEFAULTS: dict[str, Any] = {"version_base": "1.3"} if _IS_HYDRA_1_3 else {}
COMMAND_DEFAULTS: dict[str, Any] = HYDRA_DEFAULTS if _IS_HYDRA_1_3 else {"execution_whitelist": sorted(hydra_targets())}
_REGISTER = "register_new_resolver" if version("omegaconf").startswith("2.3.") else "register_resolver"
register_resolver = getattr(OmegaConf, _REGISTER)  # by the name that is not deprecated
_VARIABLE = re.compile(r"\$\{oc\.env:([^,{}$]+)")  # as `recorded` writes it
_SHORTEST = 6  # letters of a value that is looked for in a text


@functools.cache
def default_choices(command: str) -> dict[str, Any]:
    """Components that a command chooses by default, by group: a name, a list of names, or None."""
    choices: dict[str, Any] = {}
    for name in ("fitting", command):
        for entry in read_yaml(configuration_folder() / f"{name}.yaml")["defaults"]:
            choices.update(entry if isinstance(entry, dict) else {})
    return choices


def resolved(config: Any, without: Collection[str] = ()) -> Any:
    """Resolve all interpolations to plain types, without Hydra's own node; ??? stays."""
    if not isinstance(config, DictConfig):
        return OmegaConf.to_container(config, resolve=True)
    return {str(key): _value(config, key) for key in config if key != "hydra" and key not in without}


def recorded(config: Any, without: Collection[str] = ()) -> Any:
    """Resolve a configuration to plain types, except values of environment variables.

    ${oc.env:NAME} is written as it stands, also inside the values that are made of it, since it may name a secret.
    Arguments as those of `resolved`.
    """
    with _environment_unread():
        return resolved(config, without)


def without_values(text: str, record: Any) -> str:
    """Replace environment values in a text about a configuration by ${oc.env:NAME}."""
    for name in {name for _, value in leaves(record) for name in _VARIABLE.findall(str(value))}:
        value = os.environ.get(name, "")
        text = text.replace(value, f"${{oc.env:{name}}}") if len(value) >= _SHORTEST else text
    return text


def _value(node: DictConfig, key: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        return "???"
    return OmegaConf.to_container(node[key], resolve=True) if OmegaConf.is_config(node[key]) else node[key]


def leaves(node: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Iterate over a plain configuration's values with their dotted names."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from leaves(value, f"{name}.{number}")
    else:
        yield name, node


@contextmanager
def _environment_unread() -> Iterator[None]:
    """Keep ${oc.env:NAME} and ${oc.env:NAME,default} unresolved within the block."""

    def name(*words: object) -> str:
        return f"${{oc.env:{','.join('null' if word is None else str(word) for word in words)}}}"

    register_resolver("oc.env", name, replace=True)
    try:
        yield
    finally:
        register_resolver("oc.env", oc.env, replace=True)
