"""Images in folders named after their classes."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets._image_files import decode_files
from dovision.datasets.readers.class_folders import check_split_folders, class_folders
from dovision.datasets.readers.copies import check_copies
from dovision.datasets.readers.decoded_store import check_outside
from dovision.datasets.readers.file_images import FileImages
from dovision.datasets.readers.mask_sources import MaskSettings, masks_by_name
from dovision.datasets.readers.table_rows import boxes_of_images
from dovision.types import SPLITS

log = logging.getLogger(__name__)
FLAT = ""  # the split of files that are still to be cut


class _Listed(NamedTuple):
    """A file of a class folder."""

    name: str  # path below the root
    label: int
    group: str
    split: str


class ImageFolder(FileImages):
    """root/train|val|test/<class>/..., or root/<class>/... cut by a seed, whole groups together.

    Of the folders of splits there may be train and test, and val is then cut from train; or test alone, for images that
    are measured and nothing is fitted to. Every file below a class folder is an image, but for hidden ones: BMP, GIF,
    JPEG, PNG, PPM, TIFF, WebP or DICOM, of one frame and at most 67 million pixels. Greyscale, RGB, RGBA, palette and
    16-bit files are turned as their EXIF orientation has it, brought to [0, 1] and to the shape's channels, resized to
    cover the shape, and their centre taken. Files are decoded once at start, to find bad ones, and read again when
    asked for.

    Args:
        root: the folder.
        task, classes, shape: facts; classes in the order of the labels, 1 or 3 channels.
        class_file: a file below the root with a line a class, its folder and, behind a tab, or behind an ImageNet
            number such as n01440764, its name; None: folders are named after their classes.
        split_folders: names of the folders of train, val and test; None for a split that has none.
        group: regular expression found in each file's name, such as "person[0-9]+|IM-[0-9]+", or, if it has a slash,
            in its path below the root; files of one match belong together. None: each file is its own group.
        boxes: a table below the root with a row a box: path (of the image, below the root), label, and four numbers as
            of `readers.boxes`. None: none.
        masks: files of masks in a folder, as of `mask_sources.MaskSettings`.
        val_fraction, test_fraction: shares of the images, where the splits are not folders.
        seed: of the cut.
        on_bad_file: error, or skip, which lists them in `bad_files`.
        leaking: refuse, warn or drop, where folders of two splits have files of one group; as of `_splits.Cut`.
        copies: error, or warn, where files of two splits have the same bytes.
        store: folder of images that `prepare` decoded once, of 8 bits; read where it is complete. None: read the files.

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
        class_file: str | None,
        split_folders: Mapping[str, str | None],
        group: str | None,
        boxes: str | None,
        masks: Mapping[str, Any],
        val_fraction: float,
        test_fraction: float,
        seed: int,
        on_bad_file: str,
        leaking: str,
        copies: str,
        store: str | None,
    ) -> None:
        self._root = Path(root).resolve()
        checks.choice("on_bad_file", on_bad_file, ("error", "skip"))
        cut = _splits.Cut(val_fraction, test_fraction, seed, leaking)
        self.shape = _image_io.grey_or_rgb_shape(shape)
        settings = _checks.group("masks", MaskSettings, masks)
        folders = _split_folders(self._root, split_folders)
        check_outside(store, [self._root])  # before its folder is taken for a class
        known = class_folders(self._root, list(folders.values()), class_file)
        stated = None if classes is None else sorted(map(str, classes))
        _checks.agree("classes", stated, sorted(each.name for each in known))
        self.task = _checks.task(task, classes, ("multiclass",), "an image folder")
        label = {name: number for number, name in enumerate(self.task.classes)}
        listed = sorted(_listed(self._root, folders, [(each.folder, label[each.name]) for each in known], group))
        read = decode_files([self._root / file.name for file in listed], [file.name for file in listed])
        self.bad_files = tuple(facts for facts in read if isinstance(facts, str))
        if self.bad_files and on_bad_file == "error":
            raise ValueError(
                f"each file of an image folder must be a whole image, got {len(self.bad_files)} bad:"
                f"{checks.bullet_lines(self.bad_files)}\n"
                "Mend or remove them, or leave them out with dataset.on_bad_file=skip."
            )
        whole = [(file, facts) for file, facts in zip(listed, read, strict=True) if not isinstance(facts, str)]
        self._hold(whole)
        given = None if FLAT in folders else [file.split for file, _ in whole]
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, ("train", "val"))
        check_copies([facts.digest for _, facts in whole], self.records, self.rows, copies)
        if boxes is not None:
            self.known_boxes = boxes_of_images(self._root / boxes, self._root, self.records, self.task.classes)
        self.take_masks(masks_by_name(self.records["name"], settings, self._root), settings.missing, decode=True)
        _image_io.warn_of_lost_colour([facts.colour for _, facts in whole], self.shape)
        self.warn_of_reoriented([facts.reoriented for _, facts in whole])
        self.take_store(store, [self._root, class_file, *folders.items()])
        _image_io.warn_of_dark(self.records["name"].tolist(), self.records["path"].tolist())
        groups_of = dict(enumerate(sorted(set(groups))))
        digests = b"".join(facts.digest for _, facts in whole)
        self.identify(repr(groups_of).encode() + digests, [self._root], images_read=True)

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """The names of the classes, where the configuration has none: those of the class file or of the folders."""
        root = Path(settings["root"]).resolve()
        folders = _split_folders(root, settings["split_folders"])
        return [each.name for each in class_folders(root, list(folders.values()), settings["class_file"])]

    @classmethod
    def found_channels(cls, settings: Mapping[str, Any]) -> int:
        """The channels of the images, where the configuration has none: as of `_image_io.channels_of`."""
        root = Path(settings["root"]).resolve()
        folders = list(_split_folders(root, settings["split_folders"]).values())
        known = class_folders(root, folders, settings["class_file"])
        paths = [path for parent in folders for each in known for path in _visible(parent / each.folder)]
        return _image_io.channels_of(paths, lambda path: _image_io.pixels(path, 3))

    def _hold(self, whole: Sequence[tuple[_Listed, _image_io.ImageHeader]]) -> None:
        """The records and labels of the files that are used."""
        self.labels = torch.tensor([file.label for file, _ in whole], dtype=torch.int64)
        self.records = pd.DataFrame(
            {
                "name": [file.name for file, _ in whole],
                "path": [str(self._root / file.name) for file, _ in whole],
                "number": np.full(len(whole), None),
                "group": [file.group for file, _ in whole],
                "height": [facts.height for _, facts in whole],
                "width": [facts.width for _, facts in whole],
            }
        )


def _split_folders(root: Path, names: Mapping[str, str | None]) -> dict[str, Path]:
    """The folder of each split that there is, or of everything, under the name FLAT."""
    if not root.is_dir():
        raise FileNotFoundError(f"root must be a folder of images, but {root} is not one. Set dataset.root.")
    for split in names:
        checks.choice("split_folders", split, SPLITS)
    present = {split: root / name for split in SPLITS if (name := names.get(split)) and (root / name).is_dir()}
    check_split_folders(root, present, [split for split in SPLITS if names.get(split) and split not in present])
    if present and "test" not in present:
        missing = names.get("test") or "test"
        raise ValueError(
            f"{root} must hold train, val and test, train and test, test alone, or classes only; {missing} is missing. "
            "Make the folder, or name another one, as for ImageNet: 'dataset.split_folders={train: train, val: null, "
            "test: val}'."
        )
    if "val" in present and "train" not in present:
        raise ValueError(f"{root} must hold train beside val, but has none. Make the folder, or take val away.")
    return present or {FLAT: root}


def _listed(
    root: Path, folders: Mapping[str, Path], classes: Sequence[tuple[str, int]], group: str | None
) -> list[_Listed]:
    """Every file that is not hidden."""
    files = [
        (path.relative_to(root).as_posix(), label, split)
        for (split, folder), (inner, label) in itertools.product(folders.items(), classes)
        for path in _visible(folder / inner)
    ]
    groups = _splits.groups_by_pattern([name for name, _, _ in files], group)
    return [_Listed(name, label, own, split) for (name, label, split), own in zip(files, groups, strict=True)]


def _visible(folder: Path) -> Iterator[Path]:
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (Path(where, name) for name in sorted(names) if not name.startswith("."))
