"""Composition by Hydra: the words that it is given, the one that it refuses, and a component outside a command."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException
from yaml.error import MarkedYAMLError

from dovision import checks
from dovision.config.component import Component
from dovision.config.errors import elsewhere, error_text, for_none, group_names, is_listed, readable
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder

_AROUND = ("autoencoder.after",)  # settings of a command that components refer to, and that are given here by hand
_WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p")  # Hydra's


def hydra_outside() -> AbstractContextManager[Any]:
    """Block in which `hydra.compose` can be called; inside a command, Hydra's own state is used."""
    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    return hydra.initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS)


def early_refusal(command: str, words: Sequence[str]) -> str:
    """Reason why a command line cannot be composed, found without torch; empty if it can, or with flags of Hydra.

    Of a sweep those words are looked at that have one value for all jobs.
    """
    typed = [word for word in words if word not in ("-m", "--multirun")]
    if any(word.startswith("-") for word in typed):
        return ""
    try:
        overrides = OverridesParser.create().parse_overrides(typed)
        fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
        with hydra_outside():
            hydra.compose(command, fixed, return_hydra_config=True)
    except Exception as error:  # of whatever type, as in `_refused`
        return refusal(error, command, words)
    return ""


def refusal(error: BaseException, command: str, words: Sequence[str]) -> str:
    """Explain why a configuration cannot be composed, by finding the override at fault."""
    if isinstance(error, (OverrideParseException, MissingConfigException, MarkedYAMLError)):
        return error_text(error)
    folders, typed, rest = [], [], iter(words)
    for word in rest:
        flag, _, value = word.partition("=")
        if not flag.startswith("-"):
            typed.append(word)
        elif flag in _WITH_VALUE:
            value = value or next(rest, "")
            folders += [str(Path(value).absolute())] * (flag in ("--config-dir", "-cd"))
    is_sweep = not {"-m", "--multirun"}.isdisjoint(words)
    try:
        with hydra_outside():
            return _refused(command, typed, folders, is_sweep) or error_text(error)
    except Exception:  # of a configuration that cannot be composed without overrides
        return error_text(error)


def _refused(command: str, words: Sequence[str], folders: Sequence[str], is_sweep: bool) -> str:
    """Compose with one more override at a time, group choices first; the error of the first that never fits."""
    overrides = OverridesParser.create().parse_overrides(list(words))
    swept = [override for override in overrides if override.is_sweep_override()]
    left = [override for override in overrides if override not in swept]
    left.sort(key=lambda override: not _is_group(override.key_or_group))
    lines = [f"hydra.searchpath=[{','.join(map(repr, folders))}]"] if folders else []
    config, errors, before = hydra.compose(command, lines, return_hydra_config=True), list[Exception](), -1
    while left and before != len(left):
        before, errors = len(left), []
        for override in list(left):
            try:
                config = hydra.compose(command, [*lines, str(override.input_line)], return_hydra_config=True)
            except Exception as error:  # of whatever type: a key below a list is a TypeError
                errors.append(error)
            else:
                lines.append(str(override.input_line))
                left.remove(override)
    if left:
        return _reason(left[0], swept, config) or error_text(errors[0])
    for override in swept:
        if override.key_or_group.startswith("hydra.sweeper.params"):
            return _reason(override, swept, config)
        if is_sweep and override.key_or_group.startswith("hydra"):
            return f"{override.key_or_group} takes one value for all jobs, got {override.input_line}."
        if not is_sweep and config.hydra.mode != RunMode.MULTIRUN:
            word = override.input_line
            return f"several values ({word}) make a sweep, which needs -m. For one list, write [...] around them."
    for override in overrides:
        try:
            OmegaConf.select(config, override.key_or_group)
        except OmegaConfBaseException as error:  # such as of seed=${sed}, which Hydra resolves later, and names no key
            return error_text(error)
    return ""


def _reason(override: Override, swept: Sequence[Override], config: DictConfig) -> str:
    """Reason why a configuration does not accept an override; empty if unknown."""
    key, choice = override.key_or_group, override.get_key_element().lstrip("+~")
    if key.startswith("hydra.sweeper.params"):
        return (
            f"hydra.sweeper.params must be set in a configuration file, got {override.input_line}. On the command "
            "line, sweep by -m and values with commas: -m attack=pgd,fgsm."
        )
    for values in swept:
        if values.key_or_group == key.partition(".")[0] and key != values.key_or_group:
            return (
                f"{key} cannot be set before {values.input_line} is split into jobs. Write ++{key}=..., which each job "
                "takes."
            )
    if _is_group(key):
        return _reason_of_choice(override, choice, config.hydra.runtime.choices)
    if override.package is not None:
        return f"there is no group {key!r}.{checks.suggestion(key, group_names())}"
    return _reason_of_key(override, config)


def _reason_of_choice(override: Override, choice: str, choices: DictConfig) -> str:
    group = override.key_or_group
    if override.is_delete():
        return f"{choice} cannot be removed, since it is not chosen."
    if override.is_add() and choice in choices:
        return f"{choice} has a value already. Write {choice}=..., without +."
    value = override.value()
    if isinstance(value, list):
        return one_name(choice)
    if not isinstance(value, str):
        names = GlobalHydra.instance().config_loader().get_group_options(group)
        got = str(override.input_line).partition("=")[2]
        return f"{choice} takes a name, got {got}.{for_none(group, names)} It has: {', '.join(names)}."
    if choice in choices:
        return ""
    if chosen := [name for name in map(str, choices) if name.partition("@")[0] == group]:
        return f"nothing is chosen at {choice!r}. Did you mean {' or '.join(sorted(chosen))}?"
    return f"this command has no group {group!r}."


def _reason_of_key(override: Override, config: DictConfig) -> str:
    *parents, key = override.key_or_group.split(".")
    node: Any = config
    for number, name in enumerate(parents):
        if not OmegaConf.is_dict(node) or name not in node:
            parents, key = parents[:number], name
            break
        node = node[name]
    where = ".".join(parents)
    present = OmegaConf.is_dict(node) and key in node
    if not OmegaConf.is_dict(node):
        return f"{where} takes a value, got a key below it: {key}."
    full = f"{where}.{key}".lstrip(".")
    if present:
        return f"{full} has a value already. Write {full}=..., without +." if override.is_add() else ""
    if override.is_delete():
        return f"{full} cannot be removed, since it is not there."
    if is_listed(full):
        return f"{full} is not chosen. Choose it by its group, beside others: {where}=[...,{key}]."
    content: Any = OmegaConf.to_container(config, resolve=False)
    return checks.unknown_key(where or "the configuration", key, readable(map(str, node)), elsewhere(key, content))


def one_name(choice: str) -> str:
    """Error message that a group takes one name."""
    return f"{choice} takes one name, got a list. For a job with each of them: -m {choice}=NAME,NAME."


def _is_group(name: str) -> bool:
    return name != "" and (configuration_folder() / name).is_dir()


def composed_component(group: str, name: str, seed: int, several: bool) -> Component:
    """Compose the component of a yaml file; of a group of which a command takes `several`, each has its name."""
    around = [f"+{key}=???" for key in _AROUND]
    with hydra_outside():
        config = hydra.compose(overrides=[f"+{group}={f'[{name}]' if several else name}", f"+seed={seed}", *around])
    node = config[group][name] if several else config[group]
    return Component(f"{group}.{name}", {str(key): _plain_value(node, key) for key in node})


def _plain_value(node: DictConfig, key: Any) -> Any:
    try:
        value = node[key]
    except (MissingMandatoryValue, InterpolationToMissingValueError):
        return "???"
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
