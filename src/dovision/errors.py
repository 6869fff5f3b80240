"""Errors of use in a sentence or two: what was wrong, what was got, and the nearest name that exists."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig

from dovision import checks
from dovision.configuration import configuration_folder


def explain(error: BaseException) -> str:
    """The error in a sentence or two: what was wrong, what was got, and the nearest name that exists."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        where = re.search(r"full_key: (\S+)", str(error))
        return f"{where[1]}: {explain(error.__cause__)}" if where else explain(error.__cause__)
    if isinstance(cause := getattr(error, "cause", None), Exception):  # as Ray wraps what was raised in a worker
        return explain(cause)
    if isinstance(error, OverrideParseException):
        return f"the command line cannot be read at {error.override!r}: {str(error).splitlines()[0]}."
    if isinstance(error, HydraException):
        return _explain_composition(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used: {error.strerror}. For another output folder: output_root=..."
    return str(error).strip() or type(error).__name__


def _explain_composition(error: HydraException) -> str:
    text = str(error)
    cause = error.__cause__
    node = getattr(cause, "parent_node", None)
    wrong = re.match(r"Could not override '([^']+)'", text)
    swept = wrong and _swept(wrong[1].partition(".")[0])
    if wrong and swept:
        return (
            f"{wrong[1]} cannot be set before {swept} is split into jobs. Write ++{wrong[1]}=..., which each job takes."
        )
    if wrong and isinstance(node, DictConfig):
        key = str(cause.key)  # type: ignore[union-attr]
        parent = wrong[1].rpartition(".")[0] or "the configuration"
        return checks.unknown_key(parent, key, readable(map(str, node)))
    if wrong:
        groups = [folder.name for folder in configuration_folder().iterdir() if folder.is_dir()]
        return f"there is no group or key {wrong[1]!r}.{checks.suggestion(wrong[1], groups)}"
    missing = re.search(r"Could not find '(.+?)/([^/']+)'", text)
    if missing:
        group = configuration_folder() / missing[1]
        names = sorted(file.stem for file in group.glob("*.yaml"))
        hint = checks.suggestion(missing[2], names)
        return f"{missing[1]} has no part {missing[2]!r}.{hint} It has: {', '.join(names)}."
    return " ".join(text.split())


def _swept(group: str) -> str:
    """What the command line says of a group that it sweeps; empty if it does not."""
    return next((word for word in sys.argv if re.match(rf"{re.escape(group)}=\w+,", word)), "")


def readable(keys: Iterable[str]) -> list[str]:
    """The keys that a user may set: not those of Hydra's own machinery."""
    return [key for key in keys if not key.startswith("_") and key != "hydra"]
