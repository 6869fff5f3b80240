"""Store of decoded images of any dataset: shards of bytes, whole or not there, read through a memory map."""

from __future__ import annotations

import hashlib
import io
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets._image_io import repeat_grey
from dovision.interfaces import Images, Source
from dovision.io.arrays import FileArray
from dovision.io.atomic import remove_partial, replacing
from dovision.io.locking import Lock
from dovision.runtime.progress import DISPLAY
from dovision.types import COVER, Shape

log = logging.getLogger(__name__)
SHARD_IMAGES = 256  # the most that a kill can lose
WHITE = 255
_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StoredRows:
    """Rows of a store; grey ones of another size are fitted to `shape`, and repeated for its channels."""

    shards: tuple[FileArray, ...]
    rows: Sequence[int]
    shape: Shape

    def __call__(self, row: int) -> Tensor:
        shard, row_of_shard = divmod(self.rows[row], SHARD_IMAGES)
        try:
            array = self.shards[shard].array
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"a store must stay as it was when it was opened, but {self.shards[shard].path} is gone. Run "
                "dovision-prepare again, or read the files, without a store."
            ) from error
        image = torch.from_numpy(array[row_of_shard].astype(np.float32)) / WHITE
        return image if image.shape == self.shape else repeat_grey(image, self.shape)


class DecodedStore:
    """Folder with a file for each SHARD_IMAGES images in a row, named by its number and by the digest of its source.

    So a file of another name is one of other images, or of images that have changed, and nothing else need be kept.

    Args:
        folder: where the store lies, or will.
        shape: of an image, (C, H, W).
        keys: of each image a text that changes where the image does.
    """

    def __init__(self, folder: Path, shape: Shape, keys: Sequence[str]) -> None:
        self.folder = folder
        self.shape = shape
        self.count = len(keys)
        starts = range(0, len(keys), SHARD_IMAGES)
        self.lengths = [min(SHARD_IMAGES, len(keys) - start) for start in starts]
        self.paths = [
            folder / f"{number:05}-{_digest(shape, keys[start : start + SHARD_IMAGES])}.npy"
            for number, start in enumerate(starts)
        ]

    @property
    def due(self) -> list[int]:
        """Numbers of missing or incomplete shards."""
        sizes = {length: _file_bytes((length, *self.shape)) for length in set(self.lengths)}
        shards = enumerate(zip(self.paths, self.lengths, strict=True))
        return [
            number for number, (path, length) in shards if not path.is_file() or path.stat().st_size != sizes[length]
        ]

    def images(self, rows: Sequence[int], shape: Shape) -> StoredRows:
        """Images of this shape by their positions among `rows`, positions in the store."""
        shards = tuple(
            FileArray(path, np.uint8, (length, *self.shape))
            for path, length in zip(self.paths, self.lengths, strict=True)
        )
        return StoredRows(shards, rows, shape)

    def fill(self, read: Callable[[int], Tensor], threads: int | None) -> None:
        """Make missing or incomplete shards, with a progress bar.

        Args:
            read: gives the image of a place, shape `shape` in [0, 1].
            threads: that read; None: as many as there are processors, and a few.

        Raises:
            ValueError: some images are bad, raised when all shards without one are made.
            PermissionError: the folder cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PermissionError(
                f"{self.folder} must be a folder that can be written to: {error.strerror}. Set "
                "dataset.store, or dataset.root, to a folder of your own."
            ) from error
        with Lock(self.folder / "lock"):
            remove_partial(self.folder)
            starts = {number: number * SHARD_IMAGES for number in self.due}
            rows = {number: range(start, start + self.lengths[number]) for number, start in starts.items()}
            bad: list[str] = []
            with (
                ThreadPoolExecutor(threads) as pool,
                DISPLAY.stage(
                    "decoding images", "images", self.count, self.count - sum(map(len, rows.values()))
                ) as stage,
            ):
                for number, of_shard in rows.items():
                    images: list[_Bytes] = []
                    for image in pool.map(lambda row: _decoded(read, row), of_shard):
                        (bad if isinstance(image, str) else images).append(image)  # type: ignore[arg-type]
                        stage.advance()
                    if len(images) == len(of_shard):
                        self._write(number, images)
        if bad:
            raise ValueError(
                f"each image must be whole, got {len(bad)} bad; shards without one are made:"
                f"{checks.bullet_lines(bad)}\nMend or remove them, and run the same command again."
            )

    def _write(self, number: int, images: Sequence[_Bytes]) -> None:
        """Write a shard to the disk, and remove those of the same number that it replaces."""
        path = self.paths[number]
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, np.stack(images))
        for other in self.folder.glob(f"{number:05}-*.npy"):
            if other != path:
                other.unlink()


class PreparedImages(Images):
    """Base of datasets with a row per image, which `dovision-prepare` can decode, once.

    A subclass sets `shape` and these, and calls `use_store` or `open_store` in `__init__`.

    Attributes:
        records: a row an image, with the columns name, which no other row has, group (as text), and what `reader` finds
            it by, path and number; all other columns are those of the table.
        labels: of each record, shape (N,) int64, or (N, K) float for multilabel.
        rows: of each split, the rows of its records.
    """

    records: pd.DataFrame
    labels: Tensor
    rows: Mapping[str, Sequence[int]]
    store: DecodedStore | None = None
    set_store = "dataset.store=data/decoded"  # an example of how to ask for one
    threads: int | None = 1  # that read at once; None: as many as there are processors, and a few

    def source(self, split: str) -> Source:
        rows = list(self.rows[split])
        group = pd.factorize(self.records["group"], sort=True)[0][rows]
        read = self.from_store(rows) or self.reader(rows)
        return Source(read, self.labels[rows], torch.from_numpy(group.astype(np.int64)))

    def source_table(self, split: str) -> pd.DataFrame:
        records = self.records.iloc[list(self.rows[split])]
        return records.drop(columns=["path", "number"], errors="ignore").reset_index(drop=True)

    def reader(self, rows: Sequence[int]) -> Callable[[int], Tensor]:
        """Images of some records, by their position among these; each is read from its file on request."""
        raise NotImplementedError

    def read_record(self, row: int) -> Tensor:
        """Read the image of a record from its file, in the store's shape."""
        return self.reader([row])(0)

    def use_store(self, folder: str | None, keys: Callable[[], Sequence[str]], origin: Sequence[object]) -> None:
        """Set the store, if configured: below `folder`, apart from those of other shapes and datasets.

        Args:
            folder: of stores; None: there is none.
            keys: gives the key of each record.
            origin: paths and settings by which the dataset is another one, though its images may change.

        Raises:
            ValueError: the folder is in one of the dataset.
        """
        if folder is None:
            return
        check_outside(folder, [source for source in origin if isinstance(source, Path)])
        sources = [str(source.resolve() if isinstance(source, Path) else source) for source in origin]
        classes = self.task.classes if self.labelled else ()
        resized = () if self.resize == COVER else (str(self.resize),)
        digest = _digest(self.shape, [type(self).__name__, *classes, *sources, *resized])
        name = f"{'x'.join(map(str, self.shape))}-{digest}"
        self.open_store(Path(folder).resolve() / name, self.shape, keys())

    def open_store(self, folder: Path, shape: Shape, keys: Sequence[str]) -> None:
        """Set the store: `folder` itself, of images of this shape, each with a key; used if it is complete."""
        self.store = DecodedStore(folder, shape, keys)
        count = len(self.store.paths)
        made = count - len(self.store.due)
        prepared = "" if self.resize == COVER else f" 'dataset.resize={self.resize.setting}'"
        use = f"until dovision-prepare{prepared} has made all of them, the files are read"
        use = "it is read" if made == count else use
        log.info("%s has %d of %d shards: %s", self.store.folder, made, count, use)
        self._read_from_store = made == count
        self.recorded = {**self.recorded, "images_from_store": self._read_from_store}

    _read_from_store = False

    def from_store(self, rows: Sequence[int]) -> StoredRows | None:
        """Images of the records at these positions; None if they are to be read from their files."""
        return self.store.images(rows, self.shape) if self.store is not None and self._read_from_store else None

    def files_read(self, files: Sequence[Path]) -> tuple[Path, ...]:
        """Files with the bytes of the images: those of the store if it is in use, else these."""
        return tuple(self.store.paths if self.store is not None and self._read_from_store else files)

    def prepare(self) -> None:
        """Decode each image once into the folder `store`, which is read from then on; may be stopped and resumed.

        Raises:
            ValueError: there is no `store`, or some images are bad, raised when all others are done.
        """
        if self.store is None:
            key = self.set_store.partition("=")[0]
            raise ValueError(f"{key} must be set for images that are prepared, got None. Such as {self.set_store}.")
        self.store.fill(self.read_record, self.threads)
        self.recorded = {"images_in_store": self.store.count}  # of which this object still reads the files


def check_outside(store: str | None, paths: Sequence[Path]) -> None:
    """Raise if a store is to lie in a folder of the dataset, which would then take it for a part of itself."""
    for path in paths if store is not None else ():
        if Path(str(store)).resolve().is_relative_to(path.resolve()):
            raise ValueError(
                f"store must be a folder outside {path}, where the dataset lies, got {store}. Set dataset.store to a "
                "folder beside it."
            )


def stamp(path: Path) -> str:
    """Size and times of a file; its last change differs even if a copy keeps the date of the original."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _digest(shape: Shape, keys: Sequence[str]) -> str:
    return hashlib.sha256(repr((tuple(shape), list(keys))).encode()).hexdigest()[:16]


def _file_bytes(shape: Sequence[int]) -> int:
    """Size of the .npy file of bytes of this shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    return header.tell() + math.prod(shape)


def _decoded(read: Callable[[int], Tensor], row: int) -> _Bytes | str:
    try:
        image: _Bytes = read(row).mul(WHITE).round().byte().numpy()
        return image
    except (ValueError, OSError) as error:
        return str(error)
