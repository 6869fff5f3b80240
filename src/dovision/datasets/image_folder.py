"""Images in folders named after their classes."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.interfaces import Images, Source
from dovision.io import files, images
from dovision.runtime.progress import DISPLAY
from dovision.types import SPLITS

_COLUMNS = ["name", "label", "group", "split", "height", "width", "digest"]  # of the table of files


class ImageFolder(Images):
    """root/train|val|test/<class>/..., or root/<class>/... cut by a seed, whole groups together.

    Every file below a class folder is an image, but for hidden ones: BMP, GIF, JPEG, PNG, PPM, TIFF or WebP, of one
    frame and at most 67 million pixels. Greyscale, RGB, RGBA, palette and 16-bit files are brought to [0, 1] and to the
    shape's channels, resized to cover the shape, and their centre taken. Files are decoded once at start, to find bad
    ones, and read again when asked for.

    Args:
        root: the folder.
        task, classes, shape: facts; classes in the order of the labels, 1 or 3 channels.
        group: regular expression found in each file's name, such as "person[0-9]+|IM-[0-9]+"; files of one match
            belong together. None: each file is its own group.
        val_fraction, test_fraction: shares of the groups, where the splits are not folders.
        seed: of the cut.
        on_bad_file: error, or skip, which lists them in `bad_files`.

    Raises:
        FileNotFoundError: the root is not a folder.
        ValueError: a fact is not what the folders say, a class has no image in a split, a file is bad, the group's
            expression is wrong or does not match, a group lies in two splits.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import dovision as dv
        >>> root = Path(tempfile.mkdtemp())
        >>> for number in range(40):
        ...     folder = root / ("cat", "dog")[number % 2]
        ...     folder.mkdir(exist_ok=True)
        ...     Image.new("RGB", (20, 20), (6 * number, 0, 0)).save(folder / f"{number}.png")
        >>> settings = {"root": str(root), "shape": [3, 16, 16], "classes": ["cat", "dog"]}
        >>> pictures = dv.component("dataset", "image_folder", settings)
        >>> pictures.task.classes, pictures.split("test")[0].image.shape
        (('cat', 'dog'), torch.Size([3, 16, 16]))
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        group: str | None,
        val_fraction: float,
        test_fraction: float,
        seed: int,
        on_bad_file: str,
    ) -> None:
        self._root = Path(root).resolve()
        checks.choice("on_bad_file", on_bad_file, ("error", "skip"))
        _splits.check_fractions(val_fraction, test_fraction)
        self.shape = _image_io.grey_or_rgb_shape(shape)
        folders = _split_folders(self._root)
        stated = None if classes is None else sorted(map(str, classes))
        _checks.agree("classes", stated, _class_names(self._root, folders))
        self.task = _checks.task(task, classes, ("multiclass",), "an image folder")
        listed = sorted(_listed(self._root, folders, self.task.classes, group))
        read = _decoded(self._root, [name for name, *_ in listed])
        self.bad_files = tuple(facts for facts in read if isinstance(facts, str))
        if self.bad_files and on_bad_file == "error":
            raise ValueError(
                f"each file of an image folder must be a whole image, got {len(self.bad_files)} bad:"
                f"{checks.bullet_lines(self.bad_files)}\n"
                "Mend or remove them, or leave them out with dataset.on_bad_file=skip."
            )
        rows = [(*file, *facts) for file, facts in zip(listed, read, strict=True) if not isinstance(facts, str)]
        found = pd.DataFrame(rows, columns=_COLUMNS)
        self._rows: Mapping[str, Sequence[int]] = (
            _splits.split_groups(found["group"].tolist(), found["label"].tolist(), val_fraction, test_fraction, seed)
            if "" in folders
            else {name: np.flatnonzero(found["split"] == name).tolist() for name in SPLITS}
        )
        _check_splits(found, self._rows, self.task.classes)
        found["number"], groups = pd.factorize(found["group"], sort=True)
        self._files = found
        facts_of = repr((self.task.classes, self.shape, {name: number for number, name in enumerate(groups)})).encode()
        content = (name.encode() + digest for name, digest in zip(found["name"], found["digest"], strict=True))
        self.files = (self._root,)
        self.content = _checks.fingerprint((facts_of, *content), self._rows)

    def source(self, split: str) -> Source:
        found = self._files.iloc[list(self._rows[split])]
        paths = [str(self._root / name) for name in found["name"]]
        read = _image_io.FromFiles(paths, partial(_image_io.image_from_file, shape=self.shape))
        return Source(read, torch.tensor(found["label"].to_numpy()), torch.tensor(found["number"].to_numpy()))

    def source_table(self, split: str) -> pd.DataFrame:
        """Besides `name`, the path below the root: `height` and `width` of the file's image, in pixels."""
        return self._files.iloc[list(self._rows[split])][["name", "group", "height", "width"]].reset_index(drop=True)


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split, or of everything, under the name ""."""
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


def _class_names(root: Path, folders: Mapping[str, Path]) -> tuple[str, ...]:
    """The names of all class folders, in alphabetical order."""
    names = {path.name for folder in folders.values() for path in folder.iterdir() if path.is_dir()}
    found = tuple(sorted(name for name in names if not name.startswith(".")))
    if len(found) < 2:
        raise ValueError(f"{root} must hold at least 2 class folders, got {list(found)!r}.")
    return found


def _listed(
    root: Path, folders: Mapping[str, Path], classes: Sequence[str], group: str | None
) -> Iterator[tuple[str, int, str, str]]:
    """Path below the root, label, group and split of every file that is not hidden."""
    try:
        expression = re.compile("" if group is None else group)
    except re.error as error:
        raise ValueError(f"group must be a regular expression, got {group!r}: {error}.") from error
    for (split, folder), (label, class_name) in itertools.product(folders.items(), enumerate(classes)):
        for path in _visible(folder / class_name):
            name, match = path.relative_to(root).as_posix(), expression.search(path.name)
            if match is None:
                raise ValueError(f"group must match each file's name, but {group!r} does not match {name}.")
            yield name, label, name if group is None else match[0], split


def _visible(folder: Path) -> Iterator[Path]:
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))


def _decoded(root: Path, names: Sequence[str]) -> list[tuple[int, int, bytes] | str]:
    """Height, width and SHA-256 of each file, or what is wrong with it; with a progress bar."""

    def decode(name: str) -> tuple[int, int, bytes] | str:
        try:
            data = files.read_bytes(root / name, images.MAX_FILE_BYTES)
            return *_image_io.decoded_size(data, name), hashlib.sha256(data).digest()
        except ValueError as error:
            return f"{name}: {error}"

    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
        return list(DISPLAY.track(pool.map(decode, names), "checking images", "files", len(names)))


def _check_splits(found: pd.DataFrame, rows: Mapping[str, Sequence[int]], classes: Sequence[str]) -> None:
    for split, own in rows.items():
        present = set(found["label"].iloc[list(own)])
        for label, name in enumerate(classes):
            if label not in present:
                raise ValueError(f"each class must have an image in each split, but {name} has none in {split}.")
    groups = {split: set(found["group"].iloc[list(own)]) for split, own in rows.items()}
    _splits.check_disjoint(groups, "group", "Choose another dataset.group, or move the files.")
