"""Checks of a dataset's config against its data, and the fingerprint of the data."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from dovision import checks
from dovision.io.images import PIXELS
from dovision.types import Shape, Task

_Group = TypeVar("_Group")


def task(stated: str, classes: Sequence[str] | None, possible: Sequence[str], what: str) -> Task:
    """Return the stated task; raise if a dataset of this sort, `what`, cannot have it."""
    if stated not in possible:
        raise ValueError(
            f"task must be {' or '.join(possible)} for {what}, got {stated!r}. Use dataset.task={possible[0]}."
        )
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise ValueError(f"classes must be a list of names, got {classes!r}.")
    return Task(stated, tuple(str(name) for name in classes))


def agree(name: str, stated: Sequence[object] | None, actual: Sequence[object]) -> None:
    """Raise unless a stated value is what the data say; the remedy can be pasted into the command line."""
    if stated is None or tuple(stated) != tuple(actual):
        got = None if stated is None else list(stated)
        words = {str(item): isinstance(item, int) or re.fullmatch(r"[A-Za-z_][\w.-]*", str(item)) for item in actual}
        listed = ",".join(word if is_word else f'"{word}"' for word, is_word in words.items())
        raise ValueError(
            f"{name} must be what the data say, {list(actual)!r}, got {got!r}. Use 'dataset.{name}=[{listed}]'."
        )


def image_shape(stated: Sequence[int]) -> Shape:
    """Return the stated image shape (C, H, W), as a tuple of positive whole numbers."""
    whole = tuple(stated) if isinstance(stated, Sequence) else ()
    if len(whole) != 3 or not all(isinstance(length, int) and length > 0 for length in whole):
        got = list(whole) if whole else stated
        raise ValueError(f"shape must be three whole numbers (channels, height, width), got {got!r}.")
    if math.prod(whole) > PIXELS:
        raise ValueError(f"shape must have at most {PIXELS:,} values, got {list(whole)!r}. Make the images smaller.")
    return whole


def group(name: str, form: Callable[..., _Group], values: Mapping[str, Any]) -> _Group:
    """Make a NamedTuple of settings that belong together from a mapping of some of them; the others keep defaults."""
    for key in values:
        checks.choice(name, str(key), form._fields)  # type: ignore[attr-defined]
    return form(**values)


def fingerprint(content: Iterable[bytes], splits: Mapping[str, Sequence[int]]) -> str:
    """Hash of the content and of which row is in which split, the same on every machine."""
    digest = hashlib.sha256()
    for item in content:
        digest.update(hashlib.sha256(item).digest())
    digest.update(json.dumps({name: list(rows) for name, rows in splits.items()}, sort_keys=True).encode())
    return digest.hexdigest()
