"""Errors of use in a sentence or two: what was wrong, what was got, and the nearest name that exists."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml.error import MarkedYAMLError

from dovision import checks
from dovision.config.instead import replacement
from dovision.config.sources import configuration_folder
from dovision.io import files


def error_text(error: BaseException) -> str:
    """The error in a sentence or two: what was wrong, what was got, and the nearest name that exists."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        where = re.search(r"full_key: (\S+)", str(error))
        message = error_text(error.__cause__)
        return named(where[1], message) if where else message
    if isinstance(cause := getattr(error, "cause", None), Exception):  # as Ray wraps what was raised in a worker
        return error_text(cause)
    if isinstance(error, OverrideParseException):
        return f"the command line cannot be read at {error.override!r}: {_unread(error)}."
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name} must be YAML, got at line {mark.line + 1}: {error.problem}."
    if isinstance(error, HydraException):
        return _explain_composition(error)
    if isinstance(error, OmegaConfBaseException):
        return _explain_value(error)
    if isinstance(error, ValueError) and "Config group override must be a string" in str(error):
        return _no_name()
    if isinstance(error, OSError) and error.filename:
        instead = "" if isinstance(error, FileNotFoundError) else " For another output folder: output_root=..."
        return f"{error.filename} cannot be used: {error.strerror}.{instead}"
    text = str(error).strip()
    if where := re.search(r"^\s*full_key: (\S+)", text, re.MULTILINE):  # OmegaConf adds lines to errors of Python
        return f"{where[1]} cannot be set like this: {text.splitlines()[0]}"
    return text or type(error).__name__


def _unread(error: OverrideParseException) -> str:
    """Reason why an override cannot be read; names of sites such as relu#1 hold a sign that must be quoted."""
    key, _, value = str(error.override).partition("=")
    if "#" in value:
        return f"a value with # must be in quotes: '{key}=\"{value}\"'"
    return str(error).splitlines()[0]


def named(where: str, message: str) -> str:
    """The message behind the name of what it is about, unless it begins with that."""
    return message if message.startswith(where) else f"{where}: {message}"


def elsewhere(key: str, config: Mapping[str, Any]) -> list[str]:
    """The keys of a configuration, with their paths, that end in this key, or nearly so; at most three."""
    paths = list(_paths(config, ""))
    own = {path.rpartition(".")[2] for path in paths}
    names = [key] if key in own else checks.nearest(key, own)[:1]
    return [path for path in paths if path.rpartition(".")[2] in names][:3]


def readable(keys: Iterable[str]) -> list[str]:
    """The keys that a user may set: not those of Hydra's own machinery."""
    return [key for key in keys if not key.startswith("_") and key != "hydra"]


def _explain_composition(error: HydraException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(error.missing_cfg_file, error.options or (), text)
    if wrong := re.search(r"Could not override '([^']+)'\.(?: Did you mean to override (?:one of )?(.+?)\?)?", text):
        return _not_overridden(error, wrong[1], (wrong[2] or "").split(", "))
    if wrong := re.search(r"config group '([^']+)' does not exist", text):
        return f"there is no group {wrong[1]!r}.{checks.suggestion(wrong[1], _groups())}"
    if wrong := re.search(r"(?:Multiple values for|An item is already at) '?([^'\s]+?)'?\. ", text):
        return f"{wrong[1]} has a value already. Write {wrong[1]}=..., without +."
    if wrong := re.search(r"(\S+) appears more than once in the final defaults list", text):
        return f"{wrong[1]} is chosen twice, as by a list where a group takes one name. For a job with each: -m."
    if wrong := re.search(r"Could not delete (?:from config\. )?'([^']+)'", text):
        return f"{wrong[1]} cannot be removed, since it is not there, or null already."
    if wrong := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^']+)'", text):
        return f"several values ({wrong[1]}) make a sweep, which needs -m. For one list, write [...] around them."
    if wrong := re.search(r"Error resolving interpolation '(.+)', possible interpolation keys: (.*)", text):
        return f"{wrong[1]} in a defaults list can be made of {wrong[2]} alone, chosen before it. Name the component."
    if isinstance(error.__cause__, OmegaConfBaseException):
        return f"{text}: {_explain_value(error.__cause__)}"
    return text


def _missing(file: str, options: Iterable[str], message: str) -> str:
    """Message for a configuration file that does not exist; it ends in the folders that were searched."""
    group, _, name = file.rpartition("/")
    if not group:
        return f"there is no configuration {name!r} (--config-name)."
    folders = [Path(folder) / group for folder in re.findall(r"path=file://(\S+)", message)]
    names = sorted({*options, *(path.stem for folder in folders for path in folder.glob("*.yaml"))})
    if not names and group not in _groups():
        return f"there is no group {group!r}.{checks.suggestion(group, _groups())}"
    remedy = _for_none(group, names) if name.lower() == "none" else checks.suggestion(name, names)
    return f"{group} has no component {name!r}.{remedy} It has: {', '.join(names) or 'none'}."


def _not_overridden(error: HydraException, name: str, instead: list[str]) -> str:
    """Message for a group or a key that the configuration does not have."""
    if swept := _swept(name.partition(".")[0]):
        return f"{name} cannot be set before {swept} is split into jobs. Write ++{name}=..., which each job takes."
    if sentence := replacement(name):
        return sentence
    cause = error.__cause__
    if isinstance(node := getattr(cause, "parent_node", None), DictConfig):
        where, _, key = str(cause.full_key).rpartition(".")  # type: ignore[union-attr]
        if is_listed(f"{where}.{key}"):
            return f"{where}.{key} is not chosen. Choose it by its group, beside others: {where}=[...,{key}]."
        more = elsewhere(key, _unresolved(root)) if isinstance(root := node._get_root(), DictConfig) else []
        return checks.unknown_key(where or "the configuration", key, readable(map(str, node)), more)
    if any(instead):
        return f"nothing is chosen at {name!r}. Did you mean {' or '.join(instead)}?"
    group = name.partition("@")[0]
    if group in _groups():
        return f"this command has no group {group!r}."
    return f"there is no group or key {name!r}.{checks.suggestion(group, _groups())}"


def _explain_value(error: OmegaConfBaseException) -> str:
    """The first line of OmegaConf's message, and the key; its other lines are about types."""
    text, where = str(error).strip().splitlines()[0].rstrip("."), error.full_key
    if refused := re.match(r"ValueError raised while resolving interpolation: (.*)", text):
        return f"{refused[1]}."
    if wanted := re.search(r"Interpolation key '([^']+)' not found", text):
        return f"{where or 'a value'} takes that of {wanted[1]}, which is not there."
    return f"{where}: {text}." if where and str(where) not in text else f"{text}."


def _no_name() -> str:
    """Message for a group that is given null or a number, of which Hydra does not say which."""
    for word in sys.argv:
        group, _, value = word.lstrip("+").partition("=")
        if re.fullmatch(r"(?i:null|true|false|yes|no|on|off)|[-+.\d]+", value) and group in _groups():
            names = sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))
            return f"{group} takes a name, got {value}.{_for_none(group, names)} It has: {', '.join(names)}."
    return "a group takes a name, got null or a number. Name a component: GROUP=NAME."


def _for_none(group: str, names: Iterable[str]) -> str:
    """Remedy, with a space before it, where a group takes a list, and so may be empty."""
    return f" For none of them: {group}=null." if any(is_listed(f"{group}.{name}") for name in names) else ""


def is_listed(path: str) -> bool:
    """True of the place of a component of a group that takes a list, such as logger.wandb."""
    group, _, name = path.partition(".")
    file = configuration_folder() / group / f"{name}.yaml"
    return file.is_file() and files.read_text(file).startswith(f"# @package {path}\n")


def _swept(group: str) -> str:
    """Values of a group that the command line sweeps; empty if it does not."""
    return next((word for word in sys.argv if re.match(rf"{re.escape(group)}=\w+,", word)), "")


def _groups() -> list[str]:
    return [folder.name for folder in configuration_folder().iterdir() if folder.is_dir()]


def _unresolved(config: DictConfig) -> dict[str, Any]:
    return OmegaConf.to_container(config, resolve=False)  # type: ignore[return-value]


def _paths(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key in readable(map(str, node)):
        if isinstance(node[key], Mapping) and node[key]:
            yield from _paths(node[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
