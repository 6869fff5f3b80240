"""Errors of use in a sentence or two: what was wrong, what was got, and the nearest name that exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml.error import MarkedYAMLError

from dovision import checks
from dovision.config.sources import configuration_folder
from dovision.io import files


def error_text(error: BaseException) -> str:
    """Describe an error in a sentence or two: the rule, what was got, and the nearest existing name."""
    if isinstance(error, OmegaConfBaseException):
        text, where = str(error).strip().splitlines()[0].rstrip("."), error.full_key  # other lines are about types
        return f"{where}: {text}." if where and str(where) not in text else f"{text}."
    if isinstance(cause := getattr(error, "cause", None), Exception):  # as Ray wraps what was raised in a worker
        return error_text(cause)
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).partition("=")  # names of sites such as relu#1 hold a sign for comments
        quoted = f"a value with # must be in quotes: '{key}=\"{value}\"'"
        lines = [line for line in str(error).splitlines()[:-1] if line.strip(" ^")]  # the last one is a link
        reason = quoted if "#" in value else (lines or [str(error)])[-1].rstrip(".")
        return f"the command line cannot be read at {error.override!r}: {reason}."
    if isinstance(error, MarkedYAMLError) and (mark := error.problem_mark):
        return f"{mark.name} must be YAML, got at line {mark.line + 1}: {error.problem}."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group:
            return missing_component(group, name, error.options or ())
        return f"there is no configuration {name!r} (--config-name)."
    if isinstance(error, HydraException):
        text = " ".join(str(error).split())
        return f"{text}: {error_text(error.__cause__)}" if isinstance(error.__cause__, OmegaConfBaseException) else text
    if isinstance(error, OSError) and error.filename:
        remedy = "" if isinstance(error, FileNotFoundError) else " For another output folder: output_root=..."
        return f"{error.filename} cannot be used: {error.strerror}.{remedy}"
    if isinstance(error, MemoryError):
        got = f" ({str(error).rstrip('.')})" if str(error) else ""
        return f"memory ran out{got}. Ask for fewer or smaller images, or smaller batches."
    return str(error).strip() or type(error).__name__


def named(where: str, message: str) -> str:
    """Prefix a message with the name of its subject, unless it starts with it."""
    return message if message.startswith(where) else f"{where}: {message}"


def missing_component(group: str, name: str, names: Iterable[str]) -> str:
    """Error message that a group has no component of a name, listing those that exist."""
    names = sorted(names) or sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))
    if not names:
        return f"there is no group {group!r}.{checks.suggestion(group, group_names())}"
    remedy = for_none(group, names) if name.lower() == "none" else checks.suggestion(name, names)
    if words := _of_library(group, name):
        remedy = f" Write {words}."
    return f"{group} has no component {name!r}.{remedy} It has: {', '.join(names) or 'none'}."


def _of_library(group: str, name: str) -> str:
    """Words that choose a network or explainer by the name that its library has for it; empty if none has it.

    Networks are of torchvision or timm, explainers of captum or grad-cam, in any case and with or without underscores.
    """
    if group == "explainer":
        for library, door in (("captum.attr", "captum"), ("pytorch_grad_cam", "cam")):
            names = dir(import_module(library)) if find_spec(library.partition(".")[0]) else []
            for method in names:
                if method.lower() == name.lower().replace("_", "").replace("++", "plusplus"):
                    return f"explainer={door} explainer.{door}.method={method}"
    if group == "model":
        from torchvision import models  # imported in an error alone, as it takes seconds

        if name in models.list_models(models):
            return f"model=torchvision_model model.name={name}"
        timm = import_module("timm") if find_spec("timm") else None
        return f"model=timm_model model.name={name}" if timm is not None and timm.is_model(name) else ""
    return ""


def for_none(group: str, names: Iterable[str]) -> str:
    """Remedy, after a space, for a group that takes a list and may be empty."""
    return f" For none of them: {group}=[]." if any(is_listed(f"{group}.{name}") for name in names) else ""


def elsewhere(key: str, config: Mapping[str, Any]) -> list[str]:
    """Configuration keys, with their paths, that end in this key or a similar one; at most three."""
    paths = list(_paths(config, ""))
    keys = {path.rpartition(".")[2] for path in paths}
    names = [key] if key in keys else checks.nearest(key, keys)[:1]
    return [path for path in paths if path.rpartition(".")[2] in names][:3]


def readable(keys: Iterable[str]) -> list[str]:
    """Keys that a user may set, without Hydra's own machinery."""
    return [key for key in keys if not key.startswith("_") and key != "hydra"]


def is_listed(path: str) -> bool:
    """Return whether a path is that of a component in a group that takes a list, such as logger.wandb."""
    group, _, name = path.partition(".")
    file = configuration_folder() / group / f"{name}.yaml"
    return file.is_file() and files.read_text(file).startswith(f"# @package {path}\n")


def group_names() -> Sequence[str]:
    """Groups of the package's configuration, without Hydra's own."""
    return [folder.name for folder in configuration_folder().iterdir() if folder.is_dir()]


def _paths(node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key in readable(map(str, node)):
        if isinstance(node[key], Mapping) and node[key]:
            yield from _paths(node[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
