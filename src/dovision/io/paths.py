"""Text that becomes part of a path: it names something below a folder, and never leads out of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\:*?\"<>|]")  # what no file system, or only some, allow in a name


def safe_relative_path(what: str, text: object) -> str:
    """Return `text`, a setting, if it is a path below a folder, such as study or study/first.

    Raises:
        ValueError: it is empty or absolute, leads upwards, or has characters that a file system may not allow.
    """
    names = str(text).split("/")
    if any(name in ("", ".", "..") or name != name.strip() or FORBIDDEN.search(name) for name in names):
        raise ValueError(
            f"{what} must be a name, or several with / between, below its folder, got {text!r}. Choose one such as "
            f"{_example(names)}."
        )
    return str(text)


def file_name(what: str, text: str) -> str:
    """Return `text` if it is a single file name; arguments and errors as of `safe_relative_path`."""
    if "/" in text:
        raise ValueError(f"{what} must be a name without /, got {text!r}. Choose one such as {_example([text])}.")
    return safe_relative_path(what, text)


def outside(paths: Iterable[str], folders: Sequence[Path]) -> list[bool]:
    """Return which paths lead, after resolving links, outside of all these folders; False for an empty path."""
    roots = tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
    real_folder = lru_cache(None)(os.path.realpath)

    def leads_out(path: str) -> bool:
        folder, name = os.path.split(path)
        real = os.path.join(real_folder(folder), name)
        return not (os.path.realpath(real) if os.path.islink(real) else real).startswith(roots)

    return [bool(path) and leads_out(path) for path in paths]


def _example(names: list[str]) -> str:
    """Example of a legal path: its last name without invalid characters."""
    return re.sub(r"[^\w=.-]+", "_", names[-1]).strip("._") or "study"
