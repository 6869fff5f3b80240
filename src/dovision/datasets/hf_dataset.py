"""Datasets of Hugging Face: a folder of save_to_disk, parquet or arrow files, or a name on the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.compute as pc
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.manifest import Manifest, labels_from_names
from dovision.datasets.readers.record_images import LibraryImages
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
        val_fraction, test_fraction, seed, leaking: of the cut, as of `_splits.Cut`.
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
        image, label, group = str(columns["image"]), str(columns["label"]), columns.get("group")
        library = checks.import_extra("datasets", "hf")
        cells = {label: ["|".join(row) for row in _names(data, label)]}
        if group is not None:
            cells[group] = ["" if cell is None or cell != cell else str(cell) for cell in data[group]]
        table = Manifest(Path(root), pd.DataFrame(cells, index=names, dtype=object))
        self.labels = labels_from_names(table, label, self.task)
        if group is not None:
            remedy = "Set dataset.columns.group=null where groups are not known."
            table.refuse(group, table.cells[group] == "", "a group, such as the patient", remedy)
        groups = names if group is None else table.cells[group].tolist()
        self.records = pd.DataFrame({"number": range(len(names)), "name": names, "group": groups})
        reader = HfReader(data.cast_column(image, library.Image(decode=False)), image, self.shape, self.resize)
        white = _image_io.sampled_white(range(len(names)), lambda row: decode(reader.read_bytes(row)), white_level)
        self.read = replace(reader, white=white)
        self.cut(given, _splits.Cut(val_fraction, test_fraction, seed, leaking))
        local, home = Path(root), Path(library.config.HF_CACHE_HOME)
        named = _files_of_images(data, image, (local if local.is_dir() else local.parent) if local.exists() else home)
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
        names = getattr(_innermost(data.features[label]), "names", None)
        return list(names or sorted({name for row in _names(data, label) for name in row}))

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
    by_name = dict(opened) if isinstance(opened, Mapping) else {"train": opened}
    for split in splits:
        checks.choice("splits", split, SPLITS)
    used = {split: name for split, name in splits.items() if name is not None and name in by_name}
    lacking = [split for split in SPLITS if split not in used and splits.get(split) is not None]
    meant = _splits.probable_splits([name for name in by_name if name not in used.values()], lacking)
    if not used or meant:  # one of a usual name would be left out
        raise ValueError(
            f"splits must name those of the dataset, {', '.join(by_name)}, got {', '.join(map(str, splits.values()))}."
            f"{_splits.split_remedy('splits', meant)}"
        )
    lengths = {split: len(by_name[name]) for split, name in used.items()}
    names = [f"{used[split]}-{number}" for split, length in lengths.items() for number in range(length)]
    given = [split for split, length in lengths.items() for _ in range(length)]
    data = library.concatenate_datasets([by_name[name] for name in used.values()])
    for role, column in columns.items():
        if column is not None or role != "group":
            checks.choice(f"columns.{role}", str(column), data.features)
    feature = data.features[columns["image"]]
    files_alone = isinstance(feature, Mapping) and {*feature} == {"bytes", "path"}  # parquet not written by datasets
    if type(feature).__name__ != "Image" and not files_alone:
        got = f"{columns['image']} is of {type(feature).__name__}"
        raise ValueError(f"columns.image must be a column of images, but {got}.")
    return data, None if set(used) == {"train"} else given, names


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


def _files_of_images(data: Any, column: str, folder: Path) -> list[Path]:
    """Files below a folder that cells name in place of the bytes of an image; no image is decoded."""
    paths: dict[str, None] = {}
    for batch in data.select_columns([column]).with_format("arrow").iter(_ROWS):
        path, image = (pc.struct_field(batch[column], name) for name in ("path", "bytes"))
        paths |= dict.fromkeys(path.filter(pc.and_(path.is_valid(), image.is_null())).to_pylist())
    away = outside(paths, [folder])
    wrong = [path for path, is_away in zip(paths, away, strict=True) if is_away or not Path(path).is_file()]
    if wrong:
        raise ValueError(
            f"each image of {column!r} must have its bytes in the dataset, or be a file that is there, below {folder}, "
            f"but {len(wrong):,} are not, such as {wrong[0]}. Put the bytes into the dataset (save_to_disk does)."
        )
    return [*map(Path, paths)]


def _innermost(feature: Any) -> Any:
    """Feature of an element of a list, or the feature."""
    while isinstance(feature, list) or hasattr(feature, "feature"):
        feature = feature[0] if isinstance(feature, list) else feature.feature
    return feature


def _names(data: Any, column: str) -> list[list[str]]:
    """Names of the labels of each row."""
    names = getattr(_innermost(data.features[column]), "names", None)
    rows = [cell if isinstance(cell, (list, tuple)) else [cell] for cell in data[column]]
    rows = [[cell for cell in row if cell is not None] for row in rows]
    return [[str(cell) if names is None else names[cell] for cell in row if names is None or cell >= 0] for row in rows]
