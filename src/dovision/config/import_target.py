"""Import of what a `_target_` names, with an error that says where Python has looked."""

from __future__ import annotations

import os
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from dovision import checks


def import_target(target: str) -> Any:
    """Import the class, function or classmethod of a full name.

    Args:
        target: package.module.Name, such as my_components.darken.Darken.

    Raises:
        ImportError: there is none of that name. Other errors inside a module come as they are.

    Example:
        >>> import_target("fractions.Fraction.from_float").__name__
        'from_float'
    """
    target_object: Any = None
    inside: list[str] = []
    for name in target.split("."):
        parent, target_object = target_object, _child(target_object, ".".join(inside), name)
        if target_object is parent:
            raise ImportError(_missing(parent, ".".join(inside), name))
        inside.append(name)
    return target_object


def _child(parent: Any, path: str, name: str) -> Any:
    """Import a module or attribute by name; returns the parent itself if there is none."""
    if name and parent is not None and hasattr(parent, name):
        return getattr(parent, name)
    if name and (parent is None or isinstance(parent, ModuleType)):
        full = f"{path}.{name}" if path else name
        try:
            return import_module(full)
        except ModuleNotFoundError as error:
            if error.name != full:
                raise ImportError(f"{full} imports {error.name}, which Python does not find") from error
    return parent


def _missing(parent: Any, path: str, name: str) -> str:
    if not name:
        return "a name is empty"
    if parent is None:
        return f"there is no module {name!r}. {_where_to_look(name)}"
    folders = list(map(str, getattr(parent, "__path__", [])))
    names = dict.fromkeys([*(module.name for module in pkgutil.iter_modules(folders)), *dir(parent)])
    where = f"{path} ({folders[0]})" if folders else path
    return f"{where} has no {name!r}.{checks.suggestion(name, [public for public in names if public[:1] != '_'])}"


def _where_to_look(package: str) -> str:
    """Remedy for a package that Python does not find: a console script does not search the working folder."""
    here = Path.cwd()
    if (here / package).is_dir() or (here / f"{package}.py").is_file():
        return (
            f"It lies in the working folder, {here}, which a command does not search: write PYTHONPATH=. before the "
            "command."
        )
    folders = os.environ.get("PYTHONPATH") or "none"
    return (
        f"It is searched in the folders of PYTHONPATH ({folders}) and among the installed packages, not in the working "
        f"folder ({here}). Write PYTHONPATH=folder before the command, with the folder in which {package} lies."
    )
