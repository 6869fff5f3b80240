"""Pictures without labels, of any size, for networks that know their classes themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from dovision import checks
from dovision.datasets import _checks, _image_io
from dovision.datasets._image_files import decode_files
from dovision.datasets.readers.decoded_store import PreparedImages
from dovision.interfaces import Source
from dovision.io import files
from dovision.types import Task

_ASK = "Set dataset.root to a folder of pictures, a picture, or a list of them."
log = logging.getLogger(__name__)
_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".jpe", ".png", ".pgm", ".pnm", ".ppm", ".dcm", ".tif", ".tiff", ".webp")
_LIST = ".txt"  # the ending of a file that lists pictures
_COLUMNS = ["name", "height", "width", "digest"]  # of the table of pictures


class Pictures(PreparedImages):
    """Pictures without labels: those of a folder, but not of its subfolders, or those of a list.

    BMP, GIF, JPEG, PNG, PPM, TIFF or WebP, in folders known by the ending of their names, of one frame and at most 67
    million pixels: greyscale, RGB, RGBA, CMYK, palette, 16-bit. They are turned as their EXIF orientation says, brought
    to [0, 1] and to the shape's channels, resized to cover the shape, and their centre is taken. All are of the split
    test. Their classes are those of the classifier that sees them (`take_classes`), and no label is known.

    Args:
        root: a folder; a picture; a text file with the path of a picture a line, relative to its own folder; or a list
            of folders and pictures.
        task, classes: of the classifier, in the order of its outputs; both None: its own.
        shape: (C, H, W) that the pictures are brought to, C 1 (grey) or 3 (RGB).
        on_bad_file: error, or skip, which lists them in `bad_files`.
        store: folder of images that `prepare` decoded once, of 8 bits; read where it is complete. None: read the files.

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
        store: str | None = None,
    ) -> None:
        checks.choice("on_bad_file", on_bad_file, ("error", "skip"))
        self.shape = _image_io.grey_or_rgb_shape(shape)
        self._task = _stated(task, classes)
        found = dict(_named(root))
        read = decode_files(list(found.values()), list(found))
        self.bad_files = tuple(facts for facts in read if isinstance(facts, str))
        if self.bad_files and (on_bad_file == "error" or len(self.bad_files) == len(read)):
            raise ValueError(
                f"each file must be a whole picture, got {len(self.bad_files)} bad:"
                f"{checks.bullet_lines(self.bad_files)}\n"
                "Mend or remove them, or leave them out with dataset.on_bad_file=skip."
            )
        pairs = zip(found, read, strict=True)
        self._pictures = pd.DataFrame(
            [(name, own.height, own.width, own.digest) for name, own in pairs if not isinstance(own, str)],
            columns=_COLUMNS,
        )
        self._paths = [str(found[name]) for name in self._pictures["name"]]
        digests = (name.encode() + digest for name, digest in self._pictures[["name", "digest"]].to_numpy())
        roots = [Path(each).expanduser().resolve() for each in _given(root)]
        self.files = tuple(roots if all(each.is_dir() for each in roots) else dict.fromkeys([*roots, *found.values()]))
        self.use_store(store, self._keys, roots)
        _image_io.warn_of_dark(self._pictures["name"].tolist(), self._paths)
        self.unread = self.files_read(())
        described = repr((self._task, self.shape, dict(self.facts)) if self.facts else (self._task, self.shape))
        self.content = _checks.fingerprint((described.encode(), *digests), {})
        if self.store is not None:
            self.files = (*self.files, self.store.folder)

    @property
    def task(self) -> Task:  # type: ignore[override]
        """That of the classifier, once `take_classes` has given it.

        Raises:
            ValueError: it has not.
        """
        if self._task is None:
            raise ValueError("pictures have no classes before a classifier gives them its own, by take_classes.")
        return self._task

    def take_classes(self, task: Task) -> None:
        self._task = self._task or task

    def source(self, split: str) -> Source:
        _only_test(split)
        count = len(self._paths)
        from_files = _image_io.FromFiles(self._paths, partial(_image_io.image_from_file, shape=self.shape))
        read = self.from_store(range(count)) or from_files
        label = torch.full((count,), -1) if self._task is None else self._task.unknown(count)
        return Source(read, label, torch.arange(count))

    def read_record(self, place: int) -> torch.Tensor:
        """The picture at a place, read from its file."""
        return _image_io.image_from_file(Path(self._paths[place]), self.shape)

    def _keys(self) -> list[str]:
        rows = self._pictures[["name", "digest"]].itertuples(index=False)
        return [f"{name} {digest.hex()}" for name, digest in rows]

    def source_table(self, split: str) -> pd.DataFrame:
        """Besides `name` and `group`: `height` and `width` of the picture, in pixels."""
        _only_test(split)
        return self._pictures[["name", "height", "width"]].assign(group=self._pictures["name"])


def _only_test(split: str) -> None:
    if split != "test":
        raise ValueError(
            f"pictures have the split test alone, since they have no labels to fit anything to, got {split!r}. "
            "Set evaluation.split=test, or use a dataset with labels, such as dataset=image_folder."
        )


def _stated(task: str | None, classes: Sequence[str] | None) -> Task | None:
    if task is None and classes is None:
        return None
    if task is None or classes is None or isinstance(classes, str):
        raise ValueError(
            f"task and classes must both be given, or neither, got task={task!r} and classes={classes!r}. "
            "Leave both out for the names of the network's own classes."
        )
    return Task(task, tuple(map(str, classes)))


def _given(root: str | Sequence[str]) -> Sequence[str]:
    """The entries of the root."""
    given = [root] if isinstance(root, str) else list(root or [])
    if not given or not all(isinstance(each, str) and each for each in given):
        raise ValueError(f"root must name pictures, got {root!r}. {_ASK}")
    return given


def _named(root: str | Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Name and path of each picture, in alphabetical order of the names.

    A name is that of the file, or its path as it was given where two are of one name.
    """
    listed = [path for each in _given(root) for path in _listed(Path(each).expanduser())]
    if not listed:
        raise ValueError(f"root must hold at least one picture, but {root} has none. {_below(root) or _ASK}")
    short = [name for name, _ in listed]
    twice = {name for name in short if short.count(name) > 1} if len(set(short)) < len(short) else set()
    named = {path.as_posix() if name in twice else name: path.resolve() for name, path in listed}
    if len(set(named.values())) < len(listed):
        raise ValueError(f"root must name each picture once, got some twice among {len(listed)}. {_ASK}")
    yield from sorted(named.items())


def _below(root: str | Sequence[str]) -> str:
    """What to do about folders below the root, "" if there are none."""
    roots = [Path(each).expanduser() for each in _given(root)]
    below = [each for own in roots if own.is_dir() for each in sorted(own.iterdir()) if each.is_dir()]
    names = [each.as_posix() for each in below if not each.name.startswith(".")]
    if not names:
        return ""
    named = f"dataset.root=[{','.join(names[:2])}{',...' if len(names) > 2 else ''}]"
    return f"Folders below it are not read: name them, {named}, or use dataset=image_folder, whose folders are classes."


def _listed(path: Path) -> list[tuple[str, Path]]:
    """Name and path of the pictures that one entry of the root stands for."""
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"root must be a folder or a picture that exists, but there is no {path}. {_ASK}")
    if path.suffix.lower() != _LIST:
        return [(path.name, path)]
    lines = [line.strip() for line in files.read_text(path).splitlines() if line.strip()]
    if lists := [line for line in lines if line.lower().endswith(_LIST)]:
        raise ValueError(f"{path} must list pictures and folders, got the list {lists[0]}. {_ASK}")
    return [found for line in lines for found in _listed(path.parent / line)]


def _of_folder(folder: Path) -> list[tuple[str, Path]]:
    """Name and path of the pictures of a folder; other files are named in the log."""
    visible = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    pictures = [path for path in visible if path.suffix.lower() in _ENDINGS]
    others = [path.name for path in visible if path.suffix.lower() not in _ENDINGS]
    if others:
        log.warning("left out, since their endings are none of pictures that can be read: %s", checks.listed(others, 5))
    return [(path.name, path) for path in pictures]
