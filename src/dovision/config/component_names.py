"""Names of the components' classes, read without an import, and targets that stored settings may name."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_KINDS = ("attacks", "datasets", "detectors", "explainers", "interventions", "models")  # packages of components
_TARGET = re.compile(rf"^\s*_target_: dovision\.((?:{'|'.join(_KINDS)})\.\w+)\.(\w+)\s*(?:#.*)?$", re.MULTILINE)
_ANY_TARGET = re.compile(r"\b_target_: *([\w.]+)")
_SIGNS = frozenset("=:,{}[]'\"$")  # of overrides, in which a key that was read would set others
_OF_HYDRA = ("_args_", "_convert_", "_recursive_")  # keys that change how a component is made; none is in conf/
_COMPONENT = re.compile(rf"dovision\.({'|'.join(_KINDS)})\.\w+\.[A-Z]")  # classes, of which none is made in part


def configuration_folder() -> Path:
    """Folder of the yaml files: inside the installed package, or at the top of a checkout."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "conf"


@functools.cache
def component_homes() -> dict[str, str]:
    """Module of each class or function that a yaml of `conf/` names, by name, such as PGD.

    A module is named below `dovision`, such as attacks.gradient_ascent.
    """
    texts = [path.read_text("utf-8") for path in configuration_folder().rglob("*.yaml")]
    return dict(sorted({name: home for text in texts for home, name in _TARGET.findall(text)}.items()))


@functools.cache
def package_targets() -> frozenset[str]:
    """Full names of the components in `conf/`, without loggers and Hydra's own."""
    folder = configuration_folder()
    paths = (path for path in folder.rglob("*.yaml") if path.relative_to(folder).parts[0] not in ("hydra", "logger"))
    texts = (path.read_text("utf-8").partition("\nhydra:")[0] for path in paths)
    return frozenset(target for text in texts for target in _ANY_TARGET.findall(text))


@functools.cache
def hydra_targets() -> frozenset[str]:
    """Full names of Hydra's own targets in `conf/`, such as its callbacks."""
    texts = (path.read_text("utf-8").partition("\nhydra:")[2] for path in configuration_folder().rglob("*.yaml"))
    return frozenset(target for text in texts for target in _ANY_TARGET.findall(text))


def check_stored(settings: object, source: str, trusted_by: str, where: str = "") -> None:
    """Raise if stored settings name targets outside of this package, at any depth; nothing is made.

    They may name the components of `conf/` alone, refer to no other value, such as one of the environment, and trust no
    checkpoint.

    Args:
        settings: in plain types.
        source: what they were read of.
        trusted_by: what to type if the source and the code that it names are trusted.
        where: the key of the settings.

    Raises:
        ValueError: names the target, its key and the source.
    """
    values: Iterable[tuple[Any, Any]] = enumerate(settings) if isinstance(settings, (list, tuple)) else ()
    target = str(settings.get("_target_")) if isinstance(settings, Mapping) else ""
    if isinstance(settings, Mapping):
        values = sorted(settings.items(), key=lambda item: item[0] != "_target_")  # which an error names first
    for key, value in values:
        path, got = f"{where}.{key}".lstrip("."), ""
        if not _SIGNS.isdisjoint(str(key)):
            got = "whose key has signs of an override"
        elif key == "_target_" and not (isinstance(value, str) and value in package_targets()):
            got = "which is none of dovision's components"
        elif isinstance(value, str) and "${" in value:
            got = "which refers to a value elsewhere"
        elif key == "trust_checkpoint" and value is not False:
            got = "which only a command may say"
        if not got:
            check_stored(value, source, trusted_by, path)
            if key in _OF_HYDRA or (key == "_partial_" and _COMPONENT.match(target)):
                got = "which only a command may say"
        if got:
            raise ValueError(
                f"{path} in {source} is {value!r:.200}, {got}. If you trust the file and the code that it names, type "
                f"{trusted_by}."
            )
