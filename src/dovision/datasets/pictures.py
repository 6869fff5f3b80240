"""Pictures without labels, of any size, for networks that know their classes themselves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io
from dovision.datasets.readers.file_images import LIST_FOR_WINDOW, FileImages
from dovision.interfaces import Source
from dovision.io import files
from dovision.types import Task

_ASK = "Set dataset.root to a folder of pictures, a picture, or a list of them."
log = logging.getLogger(__name__)
_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".jpe", ".png", ".pgm", ".pnm", ".ppm", ".dcm", ".tif", ".tiff", ".webp")
_LIST = ".txt"  # the ending of a file that lists pictures


class Pictures(FileImages):
    """Pictures without labels: those of a folder, without its subfolders, or those of a list.

    BMP, GIF, JPEG, PNG, PPM, TIFF or WebP, in folders known by the ending of their names, of one frame and at most 67
    million pixels: greyscale, RGB, RGBA, CMYK, palette, 16-bit. They are turned as their EXIF orientation says, brought
    to [0, 1] and to the shape's channels, resized, and their centre is taken. All are of the split
    test. Their classes are those of the classifier that sees them (`take_classes`), and no label is known.

    Args:
        root: a folder; a picture; a text file with the path of a picture a line, relative to its own folder; or a list
            of folders and pictures.
        task, classes: of the classifier, in the order of its outputs; both None: its own.
        shape: (C, H, W) that the pictures are brought to, C 1 (grey) or 3 (RGB).
        on_bad_file: error, or skip, which lists them in `bad_files`.
        white_level: value that becomes 1 in grey files of more than 8 bits; None: as of `_image_io.white_level`.
        resize: how images are brought to the shape, as of `Resize.of`; None: resized to cover it.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: there is no picture, a file is bad, or one is named twice; only one of task and classes is given.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> import dovision as dv
        >>> root = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (640, 427), "olive").save(root / "my.jpg")
        >>> pictures = dv.component("dataset", "pictures", {"root": str(root)})
        >>> pictures.split("test")[0].image.shape, pictures.split("test")[0].label
        (torch.Size([3, 224, 224]), tensor(-1))
    """

    labelled = False

    def __init__(
        self,
        root: str | Sequence[str],
        task: str | None,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        on_bad_file: str,
        white_level: int | None = None,
        resize: str | Mapping[str, Any] | None = None,
    ) -> None:
        self.shape, self.resize = _image_io.grey_or_rgb_shape(shape), _image_io.stated_resize(resize)
        self._task = _stated(task, classes)
        entries = _entries(root)
        paths = _paths_by_name(entries)
        listed = pd.DataFrame({"name": paths.keys(), "path": map(str, paths.values()), "number": None})
        self.take_files(listed.assign(group=listed["name"]), "a folder of pictures", on_bad_file, white=white_level)
        self.records["group"] = self.records.pop("group")  # the last column
        self.rows = {"train": (), "val": (), "test": range(len(self.records))}
        roots = [Path(entry).expanduser().resolve() for entry in entries]
        self.warn_of_files(LIST_FOR_WINDOW)
        self.files = tuple(roots if all(path.is_dir() for path in roots) else dict.fromkeys([*roots, *paths.values()]))
        digests = [
            name.encode() + header.digest for name, header in zip(self.records["name"], self.headers, strict=True)
        ]
        self.content = _checks.fingerprint((repr((self._task, self.shape, self.decoding)).encode(), *digests), {})

    @property
    def task(self) -> Task:  # type: ignore[override]
        """Task of the classifier, once `take_classes` has given it.

        Raises:
            ValueError: it has not.
        """
        if self._task is None:
            raise ValueError("pictures have no classes before a classifier gives them its own, by take_classes.")
        return self._task

    def take_classes(self, task: Task) -> None:
        self._task = self._task or task

    @property
    def labels(self) -> torch.Tensor:  # type: ignore[override]
        """Labels of the pictures: unknown."""
        count = len(self.records)
        return torch.full((count,), -1) if self._task is None else self._task.unknown(count)

    def source(self, split: str) -> Source:
        if split != "test":
            raise ValueError(
                "pictures have the split test alone, since they have no labels to fit anything to, got "
                f"{split!r}. Set evaluation.split=test, or use a dataset with labels, such as dataset=image_folder."
            )
        return super().source(split)


def _stated(task: str | None, classes: Sequence[str] | None) -> Task | None:
    if task is None and classes is None:
        return None
    if task is None or classes is None or isinstance(classes, str):
        raise ValueError(
            f"task and classes must both be given, or neither, got task={task!r} and classes={classes!r}. "
            "Leave both out for the names of the network's own classes."
        )
    return Task(task, tuple(map(str, classes)))


def _entries(root: str | Sequence[str]) -> Sequence[str]:
    entries = [root] if isinstance(root, str) else list(root or [])
    if not entries or not all(isinstance(entry, str) and entry for entry in entries):
        raise ValueError(f"root must name pictures, got {root!r}. {_ASK}")
    return entries


def _paths_by_name(entries: Sequence[str]) -> dict[str, Path]:
    """Path of each picture, in alphabetical order of the names.

    A name is that of the file, or its path as it was given where two are of one name.
    """
    roots = [Path(entry).expanduser() for entry in entries]
    listed = [path for root in roots for path in listed_pictures(root)]
    if not listed:
        folders = [path for root in roots if root.is_dir() for path in sorted(root.iterdir()) if path.is_dir()]
        names = [path.as_posix() for path in folders if not path.name.startswith(".")]
        named = f"dataset.root=[{','.join(names[:2])}{',...' if len(names) > 2 else ''}]"
        below = f"Folders below it are not read: name them, {named}, or use dataset=image_folder for classes."
        root = ", ".join(entries)
        raise ValueError(f"root must hold at least one picture, but {root} has none. {below if names else _ASK}")
    counts = Counter(path.name for path in listed)
    paths = {path.name if counts[path.name] == 1 else path.as_posix(): path.resolve() for path in listed}
    if len(set(paths.values())) < len(listed):
        raise ValueError(f"root must name each picture once, got some twice among {len(listed)}. {_ASK}")
    return dict(sorted(paths.items()))


def listed_pictures(path: Path) -> list[Path]:
    """Expand one entry of the root to its pictures; other files of a folder are named in the log."""
    if path.is_dir():
        visible = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        others = [file.name for file in visible if file.suffix.lower() not in _ENDINGS]
        if others:
            text = "left out, since their endings are none of pictures that can be read: %s"
            log.warning(text, checks.listed(others, 5))
        return [file for file in visible if file.suffix.lower() in _ENDINGS]
    if not path.is_file():
        raise FileNotFoundError(f"root must be a folder or a picture that exists, but there is no {path}. {_ASK}")
    if path.suffix.lower() != _LIST:
        return [path]
    lines = [line.strip() for line in files.read_text(path).splitlines() if line.strip()]
    if lists := [line for line in lines if line.lower().endswith(_LIST)]:
        raise ValueError(f"{path} must list pictures and folders, got the list {lists[0]}. {_ASK}")
    return [picture for line in lines for picture in listed_pictures(path.parent / line)]
