"""Images in folders named after their classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from tqdm import tqdm

from dovision import checks
from dovision.datasets import _checks, _class_folders, _image_io, _splits
from dovision.datasets._class_folders import ImageFile
from dovision.interfaces import Images, Source
from dovision.io import files, images
from dovision.types import SPLITS


class _DecodedFile(NamedTuple):
    """Facts of a file that has been read to its end."""

    size: _image_io.Size
    digest: bytes


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
        folders = _class_folders.split_folders(self._root)
        found = _class_folders.class_names(self._root, folders)
        _checks.agree("classes", None if classes is None else sorted(map(str, classes)), found)
        self.task = _checks.task(task, classes, ("multiclass",), "an image folder")
        listed = _class_folders.image_files(self._root, folders, self.task.classes, _class_folders.expression(group))
        self._decoded, bad = _scan(self._root, [entry.name for entry in listed])
        if bad and on_bad_file == "error":
            _refuse(bad)
        self.bad_files = tuple(bad)
        self._entries = [entry for entry in listed if entry.name in self._decoded]
        self._rows = _rows(self._entries, val_fraction, test_fraction, seed)
        _check_splits(self._entries, self._rows, self.task.classes)
        names = sorted({entry.group for entry in self._entries})
        self._groups = {name: number for number, name in enumerate(names)}
        facts_of = repr((self.task.classes, self.shape, self._groups)).encode()
        content = (entry.name.encode() + self._decoded[entry.name].digest for entry in self._entries)
        self.files = (self._root,)
        self.content = _checks.fingerprint((facts_of, *content), self._rows)

    def source(self, split: str) -> Source:
        entries = self._split_entries(split)
        paths = [str(self._root / entry.name) for entry in entries]
        files = _image_io.FromFiles(paths, partial(_image_io.image_from_file, shape=self.shape))
        labels = torch.tensor([entry.label for entry in entries])
        return Source(files, labels, torch.tensor([self._groups[entry.group] for entry in entries]))

    def source_table(self, split: str) -> pd.DataFrame:
        """Besides `name`, the path below the root: `height` and `width` of the file's image, in pixels."""
        rows = [(entry.name, entry.group, *self._decoded[entry.name].size) for entry in self._split_entries(split)]
        return pd.DataFrame(rows, columns=["name", "group", "height", "width"])

    def _split_entries(self, split: str) -> list[ImageFile]:
        return [self._entries[row] for row in self._rows[split]]


def _scan(root: Path, names: Sequence[str]) -> tuple[dict[str, _DecodedFile], list[str]]:
    """Decode each file, with a progress bar: the good ones by name, and a line on each bad one."""

    def decode(name: str) -> _DecodedFile | str:
        try:
            data = files.read_bytes(root / name, images.MAX_FILE_BYTES)
            return _DecodedFile(_image_io.decoded_size(data), hashlib.sha256(data).digest())
        except ValueError as error:
            return f"{name}: {error}"

    with ThreadPoolExecutor() as pool:  # decoding leaves Python's lock
        results = tqdm(pool.map(decode, names), total=len(names), desc="checking images", disable=None)
        scanned = dict(zip(names, results, strict=True))
    good = {name: result for name, result in scanned.items() if isinstance(result, _DecodedFile)}
    return good, [result for result in scanned.values() if isinstance(result, str)]


def _refuse(bad: Sequence[str]) -> None:
    raise ValueError(
        f"each file of an image folder must be a whole image, got {len(bad)} bad:{checks.bullet_lines(bad)}\n"
        "Mend or remove them, or leave them out with dataset.on_bad_file=skip."
    )


def _rows(entries: Sequence[ImageFile], val: float, test: float, seed: int) -> dict[str, tuple[int, ...]]:
    if not any(entry.split for entry in entries):
        return _splits.split_groups(
            [entry.group for entry in entries], [entry.label for entry in entries], val, test, seed
        )
    return {name: tuple(i for i, entry in enumerate(entries) if entry.split == name) for name in SPLITS}


def _check_splits(entries: Sequence[ImageFile], rows: dict[str, tuple[int, ...]], classes: Sequence[str]) -> None:
    for split, own in rows.items():
        present = {entries[row].label for row in own}
        for label, name in enumerate(classes):
            if label not in present:
                raise ValueError(f"each class must have an image in each split, but {name} has none in {split}.")
    groups = {split: {entries[row].group for row in own} for split, own in rows.items()}
    _splits.check_disjoint(groups, "group", "Choose another dataset.group, or move the files.")
