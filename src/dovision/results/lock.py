"""A lock on figures: hashes of all files, of the numbers, the code and the style behind them; and what has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dovision.results import drawing

PACKAGES = ("matplotlib", "numpy", "pandas", "pillow")


def lock(folder: Path, names: list[str]) -> dict[str, Any]:
    """The lock of the figures of these names in a folder; the numbers of a figure are its CSV."""
    return {
        "code": _code(),
        "style": _hash(Path(drawing.__file__)),
        "versions": {name: version(name) for name in PACKAGES},
        "figures": {name: _files(folder, name) for name in names},
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Which figures differ between two locks, and why: new or gone; data, code, style, versions, as they have changed.

    "settings" if none of these has: then it is what the caption tells of the runs.
    """
    around = [name for name in ("code", "style", "versions") if old[name] != new[name]]
    told: dict[str, str] = {}
    for name in dict.fromkeys([*old["figures"], *new["figures"]]):
        before, after = old["figures"].get(name), new["figures"].get(name)
        if before is None or after is None:
            told[name] = "new" if before is None else "gone"
        elif before != after:
            data = ["data"] if before[f"{name}.csv"] != after[f"{name}.csv"] else []
            told[name] = " and ".join([*data, *around]) or "settings"
    return told


def _files(folder: Path, name: str) -> dict[str, str]:
    return {path.name: _hash(path) for path in sorted(folder.glob(f"{name}.*"))}


def _code() -> str:
    """The hash of all that draws but the style."""
    style = Path(drawing.__file__)
    files = sorted(path for path in style.parent.glob("*.py") if path != style)
    return hashlib.sha256("".join(map(_hash, files)).encode()).hexdigest()[:16]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
