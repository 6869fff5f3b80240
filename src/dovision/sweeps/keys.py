"""Keys of a configuration, compared with those that the shipped configuration files declare."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf

from dovision import checks
from dovision.config.errors import elsewhere, readable
from dovision.config.sources import configuration_folder
from dovision.training.trainer import INSTEAD

OF_HYDRA = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")  # keys that no target takes
OPTIONAL = ("autoencoder",)  # groups of which nothing may be chosen
TRAINER = "trainer"


@functools.cache
def declared(command: str) -> DictConfig:
    """The configuration of a command without any override, Hydra's own included; to be asked while Hydra runs."""
    return hydra.compose(command, return_hydra_config=True)


def check_keys(config: DictConfig, known: DictConfig, passed: set[str] | None = None) -> None:
    """Refuse a configuration with a key that nothing reads, or without one that something reads.

    Keys come from the command line, from experiments and from a user's own folder, so all of them are looked at:
    those of a `_target_` must be its parameters; all others must be declared.

    Args:
        config: of a job.
        known: what `declared` gives for its command.
        passed: sections that have passed for earlier jobs, as they were written; those of this job are added.

    Raises:
        ValueError: names the key, and the one that was probably meant.
    """
    passed = set() if passed is None else passed
    own = _unseen("", config, passed)
    _check_declared("", config, known, known, own)
    passed.update(own.values())
    if "hydra" in config:
        own = _unseen("hydra", config.hydra, passed)
        _check_hydra("hydra", config.hydra, known.hydra, own)
        passed.update(own.values())


def _unseen(where: str, node: DictConfig, passed: set[str]) -> dict[str, str]:
    """The sections of a node that have not passed yet, by key, as they are written."""
    written = {
        str(key): json.dumps([where, str(key), _written(node, key)], default=str)
        for key in node
        if f"{where}.{key!s}" != ".hydra"
    }
    return {key: text for key, text in written.items() if text not in passed}


def _written(node: DictConfig, key: Any) -> Any:
    """A value of a node with its interpolations as they stand."""
    own = node._get_node(key)
    return OmegaConf.to_container(own, resolve=False) if OmegaConf.is_config(own) else own._value()  # type: ignore[union-attr]


def check_choices(config: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], known: DictConfig) -> None:
    """Refuse several names for a group that takes one: Hydra would merge them, and the last one would win.

    Args:
        config: of a job.
        overrides: of its command line.
        choices: Hydra's record of the name that was chosen for each group.
        known: what `declared` gives for its command.

    Raises:
        ValueError: names the group.
    """
    merged = [
        group
        for group in known.hydra.runtime.choices
        if group not in choices and OmegaConf.is_dict(OmegaConf.select(config, group.rpartition("@")[2]))
    ]
    for override in OverridesParser.create().parse_overrides([each for each in overrides if "=[" in each]):
        group, own = override.key_or_group, known.get(override.key_or_group)
        if (configuration_folder() / group).is_dir() and not (override.package is None and _is_by_name(own)):
            merged.append(override.get_key_element().lstrip("+"))
    if merged:
        name = merged[0]
        raise ValueError(f"{name} takes one name, got a list. For a job with each of them: -m {name}=NAME,NAME.")


def _check_node(where: str, node: DictConfig, known: Any, root: DictConfig) -> None:
    """A node of the configuration against the node that is declared in its place."""
    if "_target_" in node:
        _check_target(where, node, known)
    elif OmegaConf.is_dict(known) and "_target_" in known:
        raise ValueError(_unchosen(where))
    elif _is_by_name(known):
        _check_parts(where, node)
    elif not OmegaConf.is_dict(known):
        raise ValueError(f"{where} takes a value, got keys: {', '.join(map(str, node))}.")
    else:
        _check_declared(where, node, known, root)


def _check_declared(
    where: str, node: DictConfig, known: DictConfig, root: DictConfig, keys: Collection[str] | None = None
) -> None:
    """A node against the one that is declared; of its values those under `keys` alone, None: all."""
    legal = readable(map(str, known))
    for key in map(str, node):
        if key != "hydra" and key not in legal:
            raise ValueError(checks.unknown_key(where or "the configuration", key, legal, elsewhere(key, root)))
    for key in legal:
        path = f"{where}.{key}".lstrip(".")
        if key not in node and not OmegaConf.is_missing(node, key):
            raise ValueError(f"{path} must be there, got nothing. Give it a value instead of removing it.")
        if keys is not None and key not in keys:
            continue
        own, meant = _child(node, key), _child(known, key)
        if OmegaConf.is_dict(own):
            _check_node(path, own, meant, root)
        elif OmegaConf.is_dict(meant) and path not in OPTIONAL and not OmegaConf.is_interpolation(node, key):
            got = "a value" if own is not None else "nothing"
            raise ValueError(f"{path} must have keys ({', '.join(readable(map(str, meant)))}), got {got}.")
        elif isinstance(meant, bool):
            checks.switch(path, own)


def _check_target(where: str, node: DictConfig, known: Any) -> None:
    """The keys of a part that is made by a `_target_`, and those of the parts that it is made of."""
    legal, required = _parameters(where, str(node["_target_"]))
    keys = [str(key) for key in node if key not in OF_HYDRA]
    if where == TRAINER:
        legal = readable(map(str, known))
        for key in keys:
            if key in INSTEAD and key not in legal:
                raise ValueError(f"trainer.{key} is not obeyed here. {INSTEAD[key]}")
    for key in keys:
        if legal is not None and key not in legal:
            raise ValueError(checks.unknown_key(where, key, legal))
    if not node.get("_partial_") and "_args_" not in node:
        for key in required:
            if key not in keys:
                raise ValueError(f"{where}.{key} must be given, got nothing. Set {where}.{key}=...")
    for key in keys:
        _check_argument(f"{where}.{key}", _child(node, key))


def _check_argument(where: str, value: Any) -> None:
    if isinstance(value, ListConfig):
        for number in range(len(value)):
            _check_argument(f"{where}.{number}", _child(value, number))
    elif OmegaConf.is_dict(value):
        if "_target_" in value:
            _check_target(where, value, None)
        elif any(OmegaConf.is_dict(_child(value, key)) and "_target_" in _child(value, key) for key in value):
            _check_parts(where, value)


def _check_parts(where: str, node: DictConfig) -> None:
    """Parts by name: each is made by a `_target_`."""
    for key in map(str, node):
        own = _child(node, key)
        if not OmegaConf.is_dict(own) or "_target_" not in own:
            raise ValueError(_unchosen(f"{where}.{key}"))
        _check_target(f"{where}.{key}", own, None)


def _check_hydra(where: str, node: DictConfig, known: Any, keys: Collection[str] | None = None) -> None:
    """Hydra's own keys: where it has declared a class for a node, those of the class, and those that it adds itself.

    Of the node's values those under `keys` alone are looked at, None: all.
    """
    kind = OmegaConf.get_type(node)
    legal = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None
    for key in map(str, node):
        has = OmegaConf.is_dict(known) and key in list(known)  # by its name: `in known` would resolve the value
        if legal is not None and key not in legal and not has:
            raise ValueError(checks.unknown_key(where, key, legal))
        if (keys is None or key in keys) and OmegaConf.is_dict(own := _child(node, key)):
            _check_hydra(f"{where}.{key}", own, _child(known, key) if has else None)


def _is_by_name(known: Any) -> bool:
    """Whether a declared node holds parts under names that are the user's to choose."""
    if not OmegaConf.is_dict(known):
        return False
    return all(OmegaConf.is_dict(part) and "_target_" in part for part in (_child(known, key) for key in known))


def _unchosen(where: str) -> str:
    group = where.partition(".")[0]
    return (
        f"{where} has no _target_, so that nothing reads it. Choose what it is by its group ({group}=NAME), "
        f"or remove it: '~{where}'."
    )


def _child(node: DictConfig | ListConfig, key: Any) -> Any:
    """A value of a node; None for one that is missing, or that stands elsewhere."""
    if OmegaConf.is_interpolation(node, key) or OmegaConf.is_missing(node, key):  # an interpolation may miss its target
        return None
    return node[key]


@functools.cache
def _parameters(where: str, target: str) -> tuple[Collection[str] | None, Collection[str]]:
    """The arguments that a target takes by name, None if it takes any; and those that it must be given."""
    try:
        parameters = inspect.signature(pkgutil.resolve_name(target)).parameters.values()
    except Exception as error:  # whatever the import of a foreign module raises
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{where}._target_ must be a class or function that can be imported: {reason}.") from error
    positional = inspect.Parameter.VAR_POSITIONAL
    if any(each.kind == inspect.Parameter.VAR_KEYWORD for each in parameters):
        return None, ()
    named = [each for each in parameters if each.kind != positional]
    return [each.name for each in named], [each.name for each in named if each.default is inspect.Parameter.empty]
