"""Folders named after classes: which files they hold, and what a file's path says of its label, group and split."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dovision.types import SPLITS


class ImageFile(NamedTuple):
    """One image file."""

    name: str  # path below the root, with forward slashes
    label: int
    group: str
    split: str  # the folder that it lies in; empty if splits are cut by the seed


def split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split, or of everything, under the name "".

    Raises:
        FileNotFoundError: the root is not a folder.
        ValueError: some of the splits have a folder, and some have none.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"root must be a folder of images, but {root} is not one. Set dataset.root.")
    present = [name for name in SPLITS if (root / name).is_dir()]
    if present and len(present) < len(SPLITS):
        missing = ", ".join(name for name in SPLITS if name not in present)
        raise ValueError(
            f"{root} must hold train, val and test, or classes only; {missing} is missing. Make the folder, or take "
            "the others away."
        )
    return {name: root / name for name in present} or {"": root}


def class_names(root: Path, folders: Mapping[str, Path]) -> tuple[str, ...]:
    """The names of all class folders, in alphabetical order.

    Raises:
        ValueError: there are fewer than two.
    """
    names = {path.name for folder in folders.values() for path in folder.iterdir() if path.is_dir()}
    found = tuple(sorted(name for name in names if not name.startswith(".")))
    if len(found) < 2:
        raise ValueError(f"{root} must hold at least 2 class folders, got {list(found)!r}.")
    return found


def expression(group: str | None) -> re.Pattern[str] | None:
    """The regular expression of a group.

    Raises:
        ValueError: it is none.
    """
    try:
        return None if group is None else re.compile(group)
    except re.error as error:
        raise ValueError(f"group must be a regular expression, got {group!r}: {error}.") from error


def image_files(
    root: Path, folders: Mapping[str, Path], classes: Sequence[str], group: re.Pattern[str] | None
) -> list[ImageFile]:
    """Every file that is not hidden, sorted by path.

    Args:
        root: the folder.
        folders: from `split_folders`.
        classes: in the order of the labels.
        group: found in each file's name; files of one match belong together. None: each file is its own group.

    Raises:
        ValueError: the expression does not match a file's name.
    """
    listed = []
    for split, folder in folders.items():
        for label, class_name in enumerate(classes):
            for name in _below(folder / class_name, root):
                listed.append(ImageFile(name, label, _group(name, group), split))
    return sorted(listed)


def _below(folder: Path, root: Path) -> list[str]:
    names = []
    for where, inner, files in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        names += [Path(where, name).relative_to(root).as_posix() for name in files if not name.startswith(".")]
    return sorted(names)


def _group(name: str, expression: re.Pattern[str] | None) -> str:
    if expression is None:
        return name
    match = expression.search(name.rsplit("/", 1)[-1])
    if match is None:
        raise ValueError(f"group must match each file's name, but {expression.pattern!r} does not match {name}.")
    return match[0]
