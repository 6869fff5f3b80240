"""Images in folders named after their classes, or without labels in a folder or a list."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.file_images import FileImages
from dovision.datasets.readers.manifest import Manifest, read_manifest
from dovision.datasets.readers.mask_sources import MaskSettings, masks_by_name
from dovision.datasets.readers.table_rows import boxes_of_images
from dovision.interfaces import Source
from dovision.types import SPLITS, TASKS, Resize, Task

log = logging.getLogger(__name__)
FLAT = ""  # the split of files that are still to be cut
_ASK = "Set dataset.root to a folder of images, an image, or a list of them."
_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".jpe", ".png", ".pgm", ".pnm", ".ppm", ".dcm", ".tif", ".tiff", ".webp")


class ImageFolder(FileImages):
    """Images in root/train|val|test/<class>/..., or in root/<class>/... cut by a seed, whole groups together.

    Images that lie in the root itself, or in a list, have no labels: all are of the split test, and their classes are
    those given, or of the classifier that sees them (`take_classes`). A root with two folders or more, or with one of a
    split, holds class folders, whatever lies beside them; in a list of one, `[root]`, its own images count.

    Of the folders of splits there may be train and test, and val is then cut from train; or test alone, for images that
    are measured and nothing is fitted to. Every file below a class folder is an image, but for hidden ones: BMP, GIF,
    JPEG, PNG, PPM, TIFF, WebP or DICOM, of one frame and at most 67 million pixels; without labels those of a folder,
    by their endings, not below it. Greyscale, RGB, RGBA, CMYK, palette and 16-bit files are turned as their EXIF
    orientation has it, brought to [0, 1] and to the shape's channels, resized, and their centre taken. Files are
    decoded once at start, to find bad ones, and read again when asked for.

    Args:
        root: the folder; or, without labels, a folder, an image, or a list of folders and images.
        task, classes, shape: of the data; classes in the order of the labels, 1 or 3 channels.
        split_folders: names of the folders of train, val and test; None for a split that has none.
        group: regular expression found in each file's name, such as "person[0-9]+|IM-[0-9]+", or, if it has a slash,
            in its path below the root; files of one match belong together. None: each file is its own group.
        boxes: a table below the root with a row a box: path (of the image, below the root), label, and four numbers as
            of `readers.boxes`. None: none.
        masks: files of masks in a folder, as of `mask_sources.MaskSettings`.
        white_level: value that becomes 1 in grey files of more than 8 bits; None: as of `_image_io.white_level`.
        val_fraction, test_fraction, seed, leaking: of the cut, as of `_splits.Cut`.
        on_bad_file: error, or skip, which lists them in `bad_files`.
        copies: error, or warn, where files of two splits have the same bytes.
        resize: how images are brought to the shape, as of `Resize.of`; None: resized to cover it.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: a fact is not what the folders say, a class has no image in a split, a file is bad or named twice,
            the group's expression is wrong or does not match, a group lies in two splits.

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
        root: str | Sequence[str],
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
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
        self.shape, self.resize = _image_io.grey_or_rgb_shape(shape), Resize.of(resize)
        settings = _checks.group("masks", MaskSettings, masks)
        self.labelled = self.found_labels({"root": root, "split_folders": split_folders})
        if not self.labelled:
            for name, file in {"boxes": boxes, "masks.folder": settings.folder}.items():
                if file is not None:
                    raise ValueError(f"{name} must be null for images without labels, got {file!r}. Leave it out.")
            self._task = None if classes is None else _checks.task(task, classes, TASKS, "images")
            self._take_unlabelled([root] if isinstance(root, str) else root, group, white_level, on_bad_file)
            return
        assert isinstance(root, str)
        base = Path(root).resolve()
        cut = _splits.Cut(val_fraction, test_fraction, seed, leaking)
        folders = _split_folders(base, split_folders)
        stated = None if classes is None else sorted(map(str, classes))
        _checks.agree("classes", stated, _class_folders(base, folders.values()))
        self._task = _checks.task(task, classes, ("multiclass",), "an image folder")
        label = {name: number for number, name in enumerate(self.task.classes)}
        log.info("listing the images below %s", base)
        below = os.path.join(base, "")
        listed = sorted(
            (path.removeprefix(below), path, None, number, split)
            for split, folder in folders.items()
            for name, number in label.items()
            for path in _visible(folder / name)
        )
        table = pd.DataFrame(listed, columns=["name", "path", "number", "label", "split"], dtype=object)
        labels, splits = table.pop("label"), table.pop("split")
        table["group"] = _splits.groups_by_pattern(table["name"].tolist(), group)
        whole = self.take_files(table, "an image folder", on_bad_file, white=white_level)
        self.labels = torch.tensor(labels[whole].tolist(), dtype=torch.int64)
        given = None if FLAT in folders else splits[whole].tolist()
        groups, names = self.records["group"].tolist(), self.records["name"]
        self.rows = _splits.split_rows(given, groups, self.labels, self.task.classes, cut, ("train", "val"))
        self.check_copies(copies)
        if boxes is not None:
            of_boxes = read_manifest(base / boxes, "boxes")
            self.boxes_in_files = boxes_of_images(of_boxes, base, self.records, self.task.classes)
        error = Manifest(base, pd.DataFrame(index=names)).error
        self.take_masks(masks_by_name(names, settings, base, error), settings.missing, error)
        numbered = repr(dict(enumerate(sorted(set(groups)))))
        self.identify(numbered.encode() + b"".join(header.digest for header in self.headers), [base], images_read=True)

    def _take_unlabelled(self, entries: Sequence[str], group: str | None, white: int | None, on_bad_file: str) -> None:
        """Set records and content of images without labels, all of the split test."""
        if not entries or not all(isinstance(entry, str) and entry for entry in entries):
            raise ValueError(f"root must name images, got {entries!r}. {_ASK}")
        roots = [Path(entry).expanduser() for entry in entries]
        paths = [path for root in roots for path in listed_images(root)]
        if not paths:
            raise ValueError(f"root must hold at least one image, but {', '.join(entries)} has none. {_ASK}")
        counts = Counter(path.name for path in paths)
        path_of = {path.name if counts[path.name] == 1 else path.as_posix(): path.resolve() for path in sorted(paths)}
        if len(set(path_of.values())) < len(paths):
            raise ValueError(f"root must name each image once, got some twice among {len(paths)}. {_ASK}")
        names = sorted(path_of)
        table = pd.DataFrame({"name": names, "path": [str(path_of[name]) for name in names], "number": None})
        table["group"] = _splits.groups_by_pattern(names, group)
        self.take_files(table.astype(object), "images without labels", on_bad_file, white=white)
        self.rows = {"train": (), "val": (), "test": range(len(self.records))}
        count = len(self.records)
        self.labels = torch.full((count,), -1) if self._task is None else self._task.unknown(count)
        roots = [root.resolve() for root in roots]
        listed = [] if all(root.is_dir() for root in roots) else [path_of[name] for name in names]
        self.files = tuple(dict.fromkeys([*roots, *listed]))
        named = zip(self.records["name"], self.records["group"], self.headers, strict=True)
        digests = [f"{name} {of}".encode() + header.digest for name, of, header in named]
        self.content = _checks.fingerprint((repr((self._task, self.shape, self.decoding)).encode(), *digests), {})

    @property
    def task(self) -> Task:  # type: ignore[override]
        """Task of the data, or of the classifier, once `take_classes` has given it.

        Raises:
            ValueError: it has not.
        """
        if self._task is None:
            raise ValueError("images without labels have no classes before a classifier gives them, by take_classes.")
        return self._task

    def take_classes(self, task: Task) -> None:
        if self._task is None:
            self._task, self.labels = task, task.unknown(len(self.records))

    def source(self, split: str) -> Source:
        if split != "test" and not self.labelled:
            raise ValueError(
                "images without labels have the split test alone, since there is nothing to fit anything to, got "
                f"{split!r}. Set evaluation.split=test, or bring class folders."
            )
        return super().source(split)

    @classmethod
    def found_labels(cls, settings: Mapping[str, Any]) -> bool:
        """Return whether the root holds class folders, and not images alone."""
        root = settings["root"]
        if not isinstance(root, str) or Path(root).expanduser().is_file():
            return False
        if not (folder := Path(root).expanduser()).is_dir():
            return bool(root)  # the error about a folder that is missing says both
        inner, splits = [*folder.iterdir()], settings["split_folders"].values()
        has_images = any(path.suffix.lower() in _ENDINGS for path in inner)
        return len(_folders(folder)) > 1 or any((folder / name).is_dir() for name in splits if name) or not has_images

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str] | None:
        """Class names of the folders, for a configuration without any."""
        return _folders_of(settings)[1] if cls.found_labels(settings) else None

    @classmethod
    def found_channels(cls, settings: Mapping[str, Any]) -> int:
        """Channels of the images if the configuration has none: as of `_image_io.channels_of`; 3 without labels."""
        if not cls.found_labels(settings):
            return 3
        folders, classes = _folders_of(settings)
        paths = [path for folder in folders for name in classes for path in _visible(folder / name)]
        return _image_io.channels_of(paths, lambda path: _image_io.pixels(Path(path), 3))


def _folders_of(settings: Mapping[str, Any]) -> tuple[list[Path], list[str]]:
    """Folders of the splits, and names of the class folders in them."""
    root = Path(settings["root"]).resolve()
    folders = [*_split_folders(root, settings["split_folders"]).values()]
    return folders, _class_folders(root, folders)


def _folders(root: Path) -> list[Path]:
    """Visible folders of a folder, by name."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _split_folders(root: Path, names: Mapping[str, str | None]) -> dict[str, Path]:
    """Folder of each existing split, or of everything, under the name FLAT.

    Folders that look like splits by another name, such as valid or Test, are refused: they would be left out.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"root must be a folder of images, or an image, but there is no {root}. {_ASK}")
    for split, name in names.items():
        checks.choice("split_folders", split, SPLITS)
        if name and not Path(os.path.normpath(root / name)).is_relative_to(root):
            raise ValueError(f"dataset.split_folders.{split} must be a folder in {root}, got {name}. Set dataset.root.")
    present = {split: root / name for split in SPLITS if (name := names.get(split)) and (root / name).is_dir()}
    others = [path.name for path in _folders(root) if path not in present.values()]
    lacking = [split for split in SPLITS if names.get(split) and split not in present]
    meant = _splits.probable_splits(others, lacking)
    if meant and (present or len(meant) == len(others)):
        raise ValueError(
            f"{root} must hold folders of splits by the names of dataset.split_folders, got {checks.listed(others)}."
            f"{_splits.split_remedy('split_folders', meant)}"
        )
    if present and "test" not in present:
        missing = names.get("test") or "test"
        raise ValueError(
            f"{root} must hold train, val and test, train and test, test alone, or classes only; {missing} is missing. "
            "Make the folder, or name another one, as for ImageNet: 'dataset.split_folders={train: train, val: null, "
            "test: val}'."
        )
    return present or {FLAT: root}


def _visible(folder: Path) -> Iterator[str]:
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield from (os.path.join(where, name) for name in sorted(names) if not name.startswith("."))


def _class_folders(root: Path, parents: Iterable[Path]) -> list[str]:
    """Names of all class folders, in alphabetical order; ValueError if there are fewer than 2."""
    folders = sorted({path.name for parent in parents for path in _folders(parent)})
    if len(folders) < 2:
        remedy = f"Name a folder of images without labels: dataset.root={root}/{folders[0]}." if folders else _ASK
        raise ValueError(f"{root} must hold images or at least 2 class folders, got {folders!r}. {remedy}")
    return folders


def listed_images(path: Path) -> list[Path]:
    """Expand an entry of a list to its images; other files of a folder are named in the log."""
    if path.is_dir():
        visible = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        if others := [file.name for file in visible if file.suffix.lower() not in _ENDINGS]:
            text = "left out, since their endings are none of images that can be read: %s"
            log.warning(text, checks.listed(others, 5))
        return [file for file in visible if file.suffix.lower() in _ENDINGS]
    if not path.is_file():
        raise FileNotFoundError(f"root must be a folder or an image that exists, but there is no {path}. {_ASK}")
    return [path]
