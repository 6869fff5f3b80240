"""Folders of classes: their names, or those that a file gives them, such as ImageNet's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dovision import checks
from dovision.datasets._splits import as_setting, probable_splits
from dovision.io import files

_NUMBERED = re.compile(r"(n\d{8})\s+(.+)")  # of ImageNet, and the names


class ClassFolder(NamedTuple):
    """A folder, and the name of the class of its images."""

    folder: str
    name: str


def class_folders(root: Path, parents: Sequence[Path], class_file: str | None) -> list[ClassFolder]:
    """The classes: those of the file, in its order, or those of all folders, in alphabetical order.

    A line of the file is the name of a folder; or a folder, a tab and the class's name; or an ImageNet number such as
    n01440764, spaces and the class's names, of which the first one before a comma counts. Two classes of one name get
    their folder's beside it. A class of the file may lack its folder.

    Args:
        root: below which the file lies.
        parents: folders that hold the classes' folders.
        class_file: its name; None: none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are fewer than 2 classes, or the file does not name a folder that there is.
    """
    found = sorted({path.name for parent in parents for path in parent.iterdir() if path.is_dir()})
    found = [name for name in found if not name.startswith(".")]
    if class_file is None:
        if len(found) < 2:
            raise ValueError(f"{root} must hold at least 2 class folders, got {found!r}.")
        return [ClassFolder(name, name) for name in found]
    path = root / class_file
    if not path.is_file():
        raise FileNotFoundError(f"class_file must be a file, but there is no {path}.")
    lines = [line.strip() for line in files.read_text(path).splitlines()]
    listed = [_named(line) for line in lines if line]
    known = {each.folder for each in listed}
    unknown = [name for name in found if name not in known]
    if unknown:
        raise ValueError(
            f"{path} must have a line for each class folder, but has none for {checks.listed(unknown)}. Add them, or "
            "take the folders away."
        )
    twice = {name for name, count in Counter(each.name for each in listed).items() if count > 1}
    return [each._replace(name=f"{each.name} ({each.folder})") if each.name in twice else each for each in listed]


def check_split_folders(root: Path, present: Mapping[str, Path], lacking: Sequence[str]) -> None:
    """Refuse folders that look like splits by another name, such as valid or Test, and would be left out or be classes.

    Args:
        root: that holds them.
        present: the folders of splits that are read.
        lacking: splits whose folders are not there, though they have a name.

    Raises:
        ValueError: there is such a folder.
    """
    others = [path.name for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    others = [name for name in others if root / name not in present.values()]
    meant = probable_splits(others, lacking)
    if meant and (present or len(meant) == len(others)):
        raise ValueError(
            f"{root} must hold folders of splits by the names of dataset.split_folders, got {checks.listed(others)}. "
            f"Set 'dataset.split_folders={as_setting(meant)}', or, to leave them out, "
            f"'dataset.split_folders={as_setting(dict.fromkeys(meant))}'."
        )


def _named(line: str) -> ClassFolder:
    numbered = _NUMBERED.fullmatch(line)
    if numbered is not None:
        return ClassFolder(numbered[1], numbered[2].split(",")[0].strip())
    folder, _, name = line.partition("\t")
    return ClassFolder(folder.strip(), name.strip() or folder.strip())
