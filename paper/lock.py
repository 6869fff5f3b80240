"""A lock on figures: for each, hashes of its files, its numbers, the code and the style behind it; and what changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dovision.io.text_files import read_json, write_json
from dovision.report import style

_PACKAGES = ("matplotlib", "numpy", "pandas", "pillow")
_FIGURES = "figures"  # the only key of the file
Locked = Mapping[str, Mapping[str, Any]]  # by the figure's name: code, style, versions, files


def lock(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """The figures of these names in a folder, each with what it depends on; its numbers are its CSV."""
    of_style = _hash(Path(style.__file__))
    made_by = {"code": _code(), "style": of_style, "versions": {name: version(name) for name in _PACKAGES}}
    return {name: {**made_by, "files": _files(folder, name)} for name in names}


def read_lock(path: Path) -> Locked:
    """The figures of a lock; none where there is no such file.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    if not path.is_file():
        return {}
    figures = read_json(path).get(_FIGURES)
    keys = {"code", "style", "versions", "files"}
    if not isinstance(figures, dict) or any(
        not isinstance(entry, dict) or set(entry) != keys for entry in figures.values()
    ):
        raise ValueError(f"{path} must be a lock of figures, got another file or format. Delete it, and run again.")
    return figures


def write_lock(path: Path, figures: Locked) -> None:
    """Write a lock that `read_lock` reads."""
    write_json(path, {_FIGURES: dict(sorted(figures.items()))})


def changes(locked: Locked, drawn: Locked) -> dict[str, str]:
    """The drawn figures that differ from the locked ones, and the reason: new; or data, code, style, versions.

    "settings" if none of these has changed: then it is what the caption says of the runs.
    """
    reasons: dict[str, str] = {}
    for name, new in drawn.items():
        old = locked.get(name)
        if old is None:
            reasons[name] = "new"
        elif old["files"] != new["files"]:
            numbers = f"{name}.csv"
            data = ["data"] if old["files"].get(numbers) != new["files"].get(numbers) else []
            around = [part for part in ("code", "style", "versions") if old[part] != new[part]]
            reasons[name] = " and ".join([*data, *around]) or "settings"
    return reasons


def _files(folder: Path, name: str) -> dict[str, str]:
    return {path.name: _hash(path) for path in sorted(folder.glob(f"{name}.*"))}


def _code() -> str:
    """The hash of all that draws but the style."""
    of_style = Path(style.__file__)
    files = [path for root in (of_style.parent, Path(__file__).parent) for path in sorted(root.rglob("*.py"))]
    files.remove(of_style)
    return hashlib.sha256("".join(map(_hash, files)).encode()).hexdigest()[:16]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
