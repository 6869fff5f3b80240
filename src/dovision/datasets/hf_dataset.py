"""Datasets of Hugging Face: a folder of save_to_disk, parquet or arrow files, or a name on the hub."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.record_images import LibraryImages, labels_by_name
from dovision.identity.digests import files_below
from dovision.io import files
from dovision.io.images import MAX_FILE_BYTES, BadFile, decode
from dovision.io.paths import outside
from dovision.types import COVER, SPLITS, TASKS, Resize, Shape

_ROWS = 1000  # looked at together
_ROW_SETTINGS = ("root", "config", "revision", "splits", "columns")  # of `_rows`
_BUILDERS = {".parquet": "parquet", ".arrow": "arrow"}
_REMEDY = (
    "Fetch it where there is a network (load_dataset(NAME).save_to_disk(FOLDER)), and name the folder: dataset.root."
)


@dataclass(frozen=True)
class HfReader:
    """Images of a column, which holds the bytes of files, or their paths."""

    data: Any  # one library's dataset, of all rows
    column: str
    shape: Shape
    resize: Resize = COVER
    white: int = _image_io.DEEP_WHITE

    def __call__(self, number: int) -> Tensor:
        try:
            image = _image_io.pil_pixels(decode(self.read_bytes(number)), self.shape[0], self.white)
            return _image_io.fitted(image, self.shape, self.resize)
        except (BadFile, OSError, ValueError) as error:
            raise ValueError(f"row {number} must have a whole image in {self.column!r}, but it is {error}.") from error

    def read_bytes(self, number: int) -> bytes:
        """Read the bytes of the image file of a row; BadFile if it has none."""
        cell = self.data[number][self.column]
        if cell is None:
            raise BadFile("empty")
        data: bytes | None = cell["bytes"]
        return files.read_bytes(cell["path"], MAX_FILE_BYTES) if data is None else data


class HfDataset(LibraryImages):
    """A dataset with a column of images and one of labels. Needs the extra hf; no code of a dataset is run.

    Args:
        root: a folder that save_to_disk has written, a parquet or arrow file, a folder of such, or a name on the hub.
        config, revision: of a name on the hub: one of its configurations, and a branch, a tag or a commit.
        columns: image, label and, if there is one, group, such as the patient; by name.
        splits: its names of train, val and test; those that it does not have are cut.
        task, classes, shape: of the data; multilabel if a label is a list; 1 or 3 channels.
        val_fraction, test_fraction: shares of the images, where there are no such splits.
        seed: of the cut.
        leaking: refuse, warn or drop, of groups with rows in two splits; as of `_splits.Cut`.
        white_level: value that becomes 1 in grey files of more than 8 bits; None: as of `_image_io.white_level`.
        resize: how images are brought to the shape, as of `Resize.of`; None: resized to cover it.

    Raises:
        ValueError: a column is missing or of another kind; a row has no label, or one that is
            no class, or names a file that is not there.
        ConnectionError: it is no folder or file here, and cannot be downloaded.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "hf_dataset", {"root": "./nowhere", "classes": ["cat", "dog"]})
        Traceback (most recent call last):
            ...
        ValueError: dataset: root must be a folder or file that exists, or a name on the hub, ...
    """

    def __init__(
        self,
        root: str,
        config: str | None,
        revision: str | None,
        columns: Mapping[str, str | None],
        splits: Mapping[str, str | None],
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        val_fraction: float,
        test_fraction: float,
        seed: int,
        leaking: str,
        white_level: int | None,
        resize: str | Mapping[str, Any] | None = None,
    ) -> None:
        self.task = _checks.task(task, classes, TASKS, "a dataset of Hugging Face")
        self.shape, self.resize = _image_io.grey_or_rgb_shape(shape), Resize.of(resize)
        data, given, names = _rows(root, config, revision, splits, columns)
        image, label, group = (columns.get(role) for role in ("image", "label", "group"))
        library = checks.import_extra("datasets", "hf")
        self.labels = labels_by_name(_names(data, str(label)), self.task, names)
        groups = names if group is None else _groups(data[group], str(group), names)
        self.records = pd.DataFrame({"number": range(len(names)), "name": names, "group": groups})
        images = data.cast_column(image, library.Image(decode=False))
        reader = HfReader(images, str(image), self.shape, self.resize)
        white = _image_io.sampled_white(range(len(names)), lambda row: decode(reader.read_bytes(row)), white_level)
        self.read = replace(reader, white=white)
        self.cut(given, _splits.Cut(val_fraction, test_fraction, seed, leaking))
        local, home = Path(root), Path(library.config.HF_CACHE_HOME)
        homes = [local if local.is_dir() else local.parent] if local.exists() else [home]
        named = _files_of_images(data, str(image), homes)
        self.read(0)
        stored = files_below(local) if local.is_dir() else [local]
        cached = [Path(cache_file["filename"]) for cache_file in data.cache_files]
        files_read = {cache_file.resolve() for cache_file in (*(stored if local.exists() else cached), *named)}
        deep = [white] if white < _image_io.DEEP_WHITE else []
        self.identify([image, label, *deep], sorted(files_read), [local])

    @classmethod
    def found_classes(cls, settings: Mapping[str, Any]) -> list[str]:
        """Names of the classes if the configuration has none: those of its label, or all that rows have."""
        data, _, _ = _rows(*(settings[key] for key in _ROW_SETTINGS))
        label = settings["columns"]["label"]
        feature = _innermost(data.features[label])
        if hasattr(feature, "names"):
            return list(feature.names)
        return sorted({name for row in _names(data, label) for name in row})

    @classmethod
    def found_channels(cls, settings: Mapping[str, Any]) -> int:
        """Channels of the images if the configuration has none: as of `_image_io.channels_of`."""
        data, _, _ = _rows(*(settings[key] for key in _ROW_SETTINGS))
        image, column = checks.import_extra("datasets", "hf").Image(decode=False), settings["columns"]["image"]
        read = HfReader(data.cast_column(column, image), column, (3, 64, 64))
        return _image_io.channels_of(range(len(data)), read)


def _rows(
    root: str,
    config: str | None,
    revision: str | None,
    splits: Mapping[str, str | None],
    columns: Mapping[str, str | None],
) -> tuple[Any, list[str] | None, list[str]]:
    """Rows in use, the split of each, None where they are to be cut, and their names; columns are there."""
    library = checks.import_extra("datasets", "hf")
    opened = _opened(library, root, config, revision)
    parts_by_name = dict(opened) if isinstance(opened, Mapping) else {"train": opened}
    for split in splits:
        checks.choice("splits", split, SPLITS)
    chosen = {split: name for split, name in splits.items() if name is not None and name in parts_by_name}
    if not chosen:
        raise ValueError(
            f"splits must name some of {', '.join(parts_by_name)}, got {', '.join(map(str, splits.values()))}."
        )
    _check_splits(splits, chosen, parts_by_name)
    lengths = {split: len(parts_by_name[name]) for split, name in chosen.items()}
    names = [f"{chosen[split]}-{number}" for split, length in lengths.items() for number in range(length)]
    given = [split for split, length in lengths.items() for _ in range(length)]
    data = library.concatenate_datasets([parts_by_name[name] for name in chosen.values()])
    _check_columns(data, *(columns.get(role) for role in ("image", "label", "group")))
    return data, None if set(chosen) == {"train"} else given, names


def _check_splits(splits: Mapping[str, str | None], chosen: Mapping[str, str], names: Collection[str]) -> None:
    """Refuse splits if one has a usual name and would be left out."""
    others = [name for name in names if name not in chosen.values()]
    lacking = [split for split in SPLITS if split not in chosen and splits.get(split) is not None]
    if meant := _splits.probable_splits(others, lacking):
        raise ValueError(
            f"splits must name those of the dataset, {', '.join(names)}, got {', '.join(map(str, splits.values()))}. "
            f"Set 'dataset.splits={_splits.as_setting(meant)}', or, to leave them out, "
            f"'dataset.splits={_splits.as_setting(dict.fromkeys(meant))}'."
        )


def _opened(library: Any, root: str, config: str | None, revision: str | None) -> Any:
    path = Path(root)
    if not path.exists() and root.startswith((".", "/", "~")):
        raise ValueError(f"root must be a folder or file that exists, or a name on the hub, got {root}.")
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return library.load_from_disk(root)
    if path.is_file():
        builder = _BUILDERS.get(path.suffix)
        if builder is None:
            raise ValueError(f"root must be a file of {' or '.join(_BUILDERS)}, got {path.name}.")
        return library.load_dataset(builder, data_files=str(path))
    if path.is_dir():
        builders = {_BUILDERS[file.suffix] for file in path.rglob("*") if file.suffix in _BUILDERS}
        if len(builders) != 1:
            raise ValueError(
                f"root must be a folder that save_to_disk has written, or one of parquet or of arrow files, got {root} "
                f"with {' and '.join(sorted(builders)) or 'neither'}."
            )
        return library.load_dataset(root)
    try:
        return library.load_dataset(root, config, revision=revision)
    except OSError as error:
        raise ConnectionError(
            f"the dataset {root} is not on this machine, and could not be fetched "
            f"({str(error).partition(chr(10))[0].rstrip('.')}). {_REMEDY}"
        ) from error


def _check_columns(data: Any, image: str | None, label: str | None, group: str | None) -> None:
    for role, column in (("image", image), ("label", label), *([("group", group)] if group else [])):
        if column not in data.features:
            near = checks.suggestion(str(column), data.features)
            raise ValueError(
                f"columns.{role} must be one of the columns {', '.join(data.features)}, got {column!r}.{near} Set "
                f"dataset.columns.{role}."
            )
    feature = data.features[image]
    files_alone = isinstance(feature, Mapping) and {*feature} == {"bytes", "path"}  # parquet not written by datasets
    if type(feature).__name__ != "Image" and not files_alone:
        raise ValueError(f"columns.image must be a column of images, but {image} is of {type(feature).__name__}.")


def _files_of_images(data: Any, column: str, folders: Sequence[Path]) -> list[Path]:
    """Files below some folders that cells name in place of the bytes of an image; no image is decoded."""
    paths: dict[Path, None] = {}
    for batch in data.select_columns([column]).with_format("arrow").iter(_ROWS):
        path, image = (pc.struct_field(batch[column], name) for name in ("path", "bytes"))
        paths |= dict.fromkeys(map(Path, path.filter(pc.and_(path.is_valid(), image.is_null())).to_pylist()))
    wrong = [
        str(path)
        for path, away in zip(paths, outside(map(str, paths), folders), strict=True)
        if away or not path.is_file()
    ]
    if wrong:
        raise ValueError(
            f"each image of {column!r} must have its bytes in the dataset, or be a file that is there, below "
            f"{folders[0]}, but {len(wrong):,} are not, such as {wrong[0]}. Put the bytes into the dataset "
            "(save_to_disk does)."
        )
    return list(paths)


def _groups(cells: Sequence[Any], column: str, names: Sequence[str]) -> list[str]:
    """Groups as text; raise if a row has none."""
    for name, cell in zip(names, cells, strict=True):
        if cell is None or cell != cell or cell == "":
            raise ValueError(
                f"each row must have a group in {column!r}, such as the patient, but {name} has {cell!r}. Set "
                "dataset.columns.group=null where groups are not known."
            )
    return list(map(str, cells))


def _innermost(feature: Any) -> Any:
    """Feature of an element of a list, or the feature."""
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return feature


def _names(data: Any, column: str) -> list[list[str]]:
    """Names of the labels of each row."""
    feature, cells = _innermost(data.features[column]), data[column]
    rows = [list(cell) if isinstance(cell, (list, tuple)) else [cell] for cell in cells]
    if not hasattr(feature, "names"):
        return [[] if row == [None] else list(map(str, row)) for row in rows]
    return [[feature.names[number] for number in row if number is not None and number >= 0] for row in rows]
