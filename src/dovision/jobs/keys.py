"""Keys and choices of a configuration that its settings do not declare: those of components."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from dovision import checks
from dovision.config.component import OF_HYDRA
from dovision.config.composition import one_name
from dovision.config.errors import missing_component
from dovision.config.import_target import import_target
from dovision.config.settings import of_experiments, of_user, unchosen
from dovision.config.sources import configuration_folder, default_choices
from dovision.io.text_files import read_yaml

log = logging.getLogger(__name__)
_PLUMBING = ("torchmetrics.",)  # packages whose **kwargs are for synchronisation alone, which nobody configures
_COMPLETE = ("dovision", "torch", "torchmetrics")  # packages whose targets take all that a component may set
TRAINER = configuration_folder() / "trainer" / "default.yaml"
MACHINE = "local"  # the group of settings of the user's machine, an optional entry, of which Hydra takes any name


def check_choices(command: str, config: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any]) -> None:
    """Raise for several names in a single-choice group: Hydra would merge them, and the last would win.

    Raises:
        ValueError: names the group.
    """
    merged = [
        group
        for group, default in default_choices(command).items()
        if not isinstance(default, list)
        and group not in choices
        and OmegaConf.is_dict(OmegaConf.select(config, group.rpartition("@")[2]))
    ]
    names = GlobalHydra.instance().config_loader().get_group_options(MACHINE)
    if (chosen := choices.get(MACHINE, "default")) not in (*names, "default", None):
        raise ValueError(missing_component(MACHINE, str(chosen), names or ["none"]))  # its folder need not be there
    for override in map(_parsed, [word for word in overrides if "=[" in word]):
        group = override.key_or_group
        if (configuration_folder() / group).is_dir() and (
            override.package is not None or group not in of_user(command)
        ):
            merged.append(override.get_key_element().lstrip("+"))
    if merged:
        raise ValueError(one_name(merged[0]))


def check_command(command: str, overrides: Sequence[str]) -> None:
    """Raise for overrides of keys that only a command's experiments have.

    Raises:
        ValueError: names the key.
    """
    foreign = of_experiments(command)
    for group, package in map(_names, overrides):
        if {name.partition(".")[0] for name in (group, package)} & foreign:
            raise ValueError(f"{group} is not a key of dovision-{command}. Set it in dovision-evaluate.")


def drop_unselected(command: str, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Drop an experiment's components, and settings of components, that the command line's list does not name.

    What the command line itself sets of them stays, as do names that their group does not have; both are refused.
    """
    choices = {override: group for override in overrides if (group := _chosen_group(override)) in of_user(command)}
    listed: dict[str, Any] = {group: _parsed(override).value() for override, group in choices.items()}  # one or several
    named = [_names(override)[1] for override in overrides if override not in choices]
    options = GlobalHydra.instance().config_loader().get_group_options
    unchosen = [
        (group, name)
        for group, names in listed.items()
        for name, node in (OmegaConf.select(config, group) or {}).items()
        if name not in ([names] if isinstance(names, str) else names)
        if OmegaConf.is_dict(node) and ("_target_" in node) != (name in options(group))
        if not any(_is_within(f"{group}.{name}", key) or _is_within(key, f"{group}.{name}") for key in named)
    ]
    if not unchosen:
        return config
    _warn_of_unselected(tuple(f"{group}.{name}" for group, name in unchosen if "_target_" in config[group][name]))
    chosen = copy.deepcopy(config)
    with open_dict(chosen):
        for group, name in unchosen:
            del chosen[group][name]
    return chosen


@functools.cache  # once a command, whatever its jobs
def _warn_of_unselected(names: tuple[str, ...]) -> None:
    if names:
        log.warning("left out (the list of the command line replaces the experiment's): %s", ", ".join(names))


def _is_within(key: str, other: str) -> bool:
    return f"{key}.".startswith(f"{other}.")


def _chosen_group(override: str) -> str:
    """Group from which an override chooses names; otherwise empty."""
    group, package = _names(override)
    return group if package == group and isinstance(_parsed(override).value(), (str, list)) else ""


def _names(override: str) -> tuple[str, str]:
    """Group or key of an override, and its package."""
    parsed = _parsed(override)
    return parsed.key_or_group, parsed.package or parsed.key_or_group


@functools.lru_cache(maxsize=4096)  # jobs of a sweep share most of theirs
def _parsed(override: str) -> Override:
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed


def check_target(where: str, node: Mapping[str, Any]) -> None:
    """Raise for keys that a component's target does not take or lacks, also in nested components.

    Raises:
        ValueError: names the key, and the one that was probably meant.
    """
    legal, required = _parameters(where, str(node["_target_"]))
    keys = [str(key) for key in node if key not in OF_HYDRA]
    package = str(node["_target_"]).partition(".")[0]
    if node.get("_partial_") and package not in _COMPLETE:
        from dovision.measurement.by_name import LIBRARIES  # with torchvision, for which a completed run does not wait

        if any(package in libraries for libraries in LIBRARIES.values()):
            legal = None  # which has further ones for what adapts it, such as eps; that refuses others
    for key in keys:
        if legal is not None and key not in legal:
            raise ValueError(checks.unknown_key(where, key, legal))
    if not node.get("_partial_") and "_args_" not in node:
        for key in required:
            if key not in keys:
                raise ValueError(f"{where}.{key} must be given, got nothing. Set {where}.{key}=...")
    for key in keys:
        _check_argument(f"{where}.{key}", node[key])


def _check_argument(where: str, value: Any) -> None:
    if isinstance(value, list):
        for number, item in enumerate(value):
            _check_argument(f"{where}.{number}", item)
    elif _has_target(value):
        check_target(where, value)
    elif isinstance(value, Mapping) and any(map(_has_target, value.values())):
        for key, item in value.items():
            if not _has_target(item):
                raise ValueError(unchosen(f"{where}.{key}"))
            check_target(f"{where}.{key}", item)


def _has_target(value: object) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


@functools.cache
def _parameters(where: str, target: str) -> tuple[Collection[str] | None, Collection[str]]:
    """Keyword arguments of a target (None: any), and the required ones."""
    try:
        parameters = inspect.signature(import_target(target)).parameters
    except Exception as error:  # whatever the import of a foreign module raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        end = "" if reason.endswith((".", "?")) else "."
        raise ValueError(f"{where}._target_ must be a class or function, got {target}: {reason}{end}") from error
    positional, keyword = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind not in (positional, keyword)}
    if any(parameter.kind == keyword for parameter in parameters.values()) and not target.startswith(_PLUMBING):
        return None, ()
    required = [name for name, parameter in named.items() if parameter.default is inspect.Parameter.empty]
    legal = read_yaml(TRAINER) if where == "trainer" else named  # this package sets Lightning's other arguments
    return list(map(str, legal)), required
