"""Images in folders named after their classes."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.file_images import LIST_FOR_WINDOW, FileImages
from dovision.datasets.readers.mask_sources import MaskSettings, masks_by_name
from dovision.datasets.readers.table_rows import boxes_of_images
from dovision.io import files
from dovision.types import SPLITS

log = logging.getLogger(__name__)
FLAT = ""  # the split of files that are still to be cut
_NUMBERED = re.compile(r"(n\d{8})\s+(.+)")  # of ImageNet, and the names


class ImageFolder(FileImages):
    """Images in root/train|val|test/<class>/..., or in root/<class>/... cut by a seed, whole groups together.

    Of the folders of splits there may be train and test, and val is then cut from train; or test alone, for images that
    are measured and nothing is fitted to. Every file below a class folder is an image, but for hidden ones: BMP, GIF,
    JPEG, PNG, PPM, TIFF, WebP or DICOM, of one frame and at most 67 million pixels. Greyscale, RGB, RGBA, palette and
    16-bit files are turned as their EXIF orientation has it, brought to [0, 1] and to the shape's channels, resized,
    and their centre taken. Files are decoded once at start, to find bad ones, and read again when asked for.

    Args:
        root: the folder.
        task, classes, shape: of the data; classes in the order of the labels, 1 or 3 channels.
        class_file: a file below the root with a line a class, its folder and, behind a tab, or behind an ImageNet
            number such as n01440764, its name; None: folders are named after their classes.
        split_folders: names of the folders of train, val and test; None for a split that has none.
        group: regular expression found in each file's name, such as "person[0-9]+|IM-[0-9]+", or, if it has a slash,
            in its path below the root; files of one match belong together. None: each file is its own group.
        boxes: a table below the root with a row a box: path (of the image, below the root), label, and four numbers as
            of `readers.boxes`. None: none.
        masks: files of masks in a folder, as of `mask_sources.MaskSettings`.
        white_level: value that becomes 1 in grey files of more than 8 bits; None: as of `_image_io.white_level`.
        val_fraction, test_fraction: shares of the images, where the splits are not folders.
        seed: of the cut.
        on_bad_file: error, or skip, which lists them in `bad_files`.
        leaking: refuse, warn or drop, where folders of two splits have files of one group; as of `_splits.Cut`.
        copies: error, or warn, where files of two splits have the same bytes.
        resize: how images are brought to the shape, as of `Resize.of`; None: resized to cover it.

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
        white_level: int | None,
        val_fraction: float,
        test_fraction: float,
        seed: int,
        on_bad_file: str,
        leaking: str,
        copies: str,
        resize: str | Mapping[str, Any] | None = None,
    ) -> None:
        self._root = Path(root).resolve()
        cut = _splits.Cut(val_fraction, test_fraction, seed, leaking)
        self.shape, self.resize = _image_io.grey_or_rgb_shape(shape), _image_io.stated_resize(resize)
        settings = _checks.group("masks", MaskSettings, masks)
        folders = _split_folders(self._root, split_folders)
        class_of = _class_folders(self._root, folders.values(), class_file)
        stated = None if classes is None else sorted(map(str, classes))
        _checks.agree("classes", stated, sorted(class_of.values()))
        self.task = _checks.task(task, classes, ("multiclass",), "an image folder")
        label = {name: number for number, name in enumerate(self.task.classes)}
        log.info("listing the images below %s", self._root)
        below = os.path.join(self._root, "")
        listed = sorted(
            (path.removeprefix(below), path, None, label[name], split)
            for split, folder in folders.items()
            for inner, name in class_of.items()
            for path in _visible(folder / inner)
        )
        table = pd.DataFrame(listed, columns=["name", "path", "number", "label", "split"], dtype=object)
        labels, splits = table.pop("label"), table.pop("split")
        table["group"] = _splits.groups_by_pattern(table["name"].tolist(), group)
        whole = self.take_files(table, "an image folder", on_bad_file, white=white_level)
        self.labels = torch.tensor(labels[whole].tolist(), dtype=torch.int64)
        given = None if FLAT in folders else splits[whole].tolist()
        groups = self.records["group"].tolist()
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, ("train", "val"))
        self.check_copies(copies)
        if boxes is not None:
            self.boxes_in_files = boxes_of_images(self._root / boxes, self._root, self.records, self.task.classes)
        self.take_masks(masks_by_name(self.records["name"], settings, self._root), settings.missing, decode=True)
        self.warn_of_files(LIST_FOR_WINDOW)
        numbered = repr(dict(enumerate(sorted(set(groups)))))
        digests = b"".join(header.digest for header in self.headers)
        self.identify(numbered.encode() + digests, [self._root], images_read=True)

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """Names of the classes if the configuration has none: those of the class file or of the folders."""
        root = Path(settings["root"]).resolve()
        folders = _split_folders(root, settings["split_folders"]).values()
        return [*_class_folders(root, folders, settings["class_file"]).values()]

    @classmethod
    def found_channels(cls, settings: Mapping[str, Any]) -> int:
        """Channels of the images if the configuration has none: as of `_image_io.channels_of`."""
        root = Path(settings["root"]).resolve()
        folders = _split_folders(root, settings["split_folders"]).values()
        class_of = _class_folders(root, folders, settings["class_file"])
        paths = [path for folder in folders for name in class_of for path in _visible(folder / name)]
        return _image_io.channels_of(paths, lambda path: _image_io.pixels(Path(path), 3))


def _split_folders(root: Path, names: Mapping[str, str | None]) -> dict[str, Path]:
    """Folder of each existing split, or of everything, under the name FLAT.

    Folders that look like splits by another name, such as valid or Test, are refused: they would be left out.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"root must be a folder of images, but {root} is not one. Set dataset.root.")
    for split, name in names.items():
        checks.choice("split_folders", split, SPLITS)
        if name and not Path(os.path.normpath(root / name)).is_relative_to(root):
            raise ValueError(f"dataset.split_folders.{split} must be a folder in {root}, got {name}. Set dataset.root.")
    present = {split: root / name for split in SPLITS if (name := names.get(split)) and (root / name).is_dir()}
    visible = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    others = [path.name for path in visible if path not in present.values()]
    lacking = [split for split in SPLITS if names.get(split) and split not in present]
    meant = _splits.probable_splits(others, lacking)
    if meant and (present or len(meant) == len(others)):
        raise ValueError(
            f"{root} must hold folders of splits by the names of dataset.split_folders, got {checks.listed(others)}. "
            f"Set 'dataset.split_folders={_splits.as_setting(meant)}', or, to leave them out, "
            f"'dataset.split_folders={_splits.as_setting(dict.fromkeys(meant))}'."
        )
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


def _visible(folder: Path) -> Iterator[str]:
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (os.path.join(where, name) for name in sorted(names) if not name.startswith("."))


def _class_folders(root: Path, parents: Iterable[Path], class_file: str | None) -> dict[str, str]:
    """Class of each folder: those of the file, in its order, or those of all folders, in alphabetical order.

    A line of the file is the name of a folder; or a folder, a tab and the class's name; or an ImageNet number such as
    n01440764, spaces and the class's names, of which the first one before a comma counts. Two classes of one name get
    their folder's beside it. A class of the file may lack its folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are fewer than 2 classes, or the file does not name a folder that there is.
    """
    names = {path.name for parent in parents for path in parent.iterdir() if path.is_dir()}
    folders = sorted(name for name in names if not name.startswith("."))
    if class_file is None:
        if len(folders) < 2:
            raise ValueError(f"{root} must hold at least 2 class folders, got {folders!r}.")
        return {folder: folder for folder in folders}
    path = root / class_file
    if not path.is_file():
        raise FileNotFoundError(f"class_file must be a file, but there is no {path}.")
    class_of = {}
    for line in filter(None, map(str.strip, files.read_text(path).splitlines())):
        numbered = _NUMBERED.fullmatch(line)
        folder, name = (numbered[1], numbered[2].split(",")[0]) if numbered else line.partition("\t")[::2]
        class_of[folder.strip()] = name.strip() or folder.strip()
    if unknown := [folder for folder in folders if folder not in class_of]:
        raise ValueError(
            f"{path} must have a line for each class folder, but has none for {checks.listed(unknown)}. Add them, or "
            "take the folders away."
        )
    count = Counter(class_of.values())
    return {folder: name if count[name] == 1 else f"{name} ({folder})" for folder, name in class_of.items()}
