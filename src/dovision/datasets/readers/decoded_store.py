"""Images of any dataset decoded once: shards of bytes, each whole or not there, read through a memory map."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Images
from dovision.io.arrays import FileArray
from dovision.io.atomic import remove_partial, replacing
from dovision.io.locking import Lock
from dovision.runtime.progress import DISPLAY
from dovision.types import Shape

log = logging.getLogger(__name__)
SHARD_IMAGES = 256  # the most that a kill can lose
WHITE = 255
_Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class StoredRows:
    """Some rows of a store."""

    shards: tuple[FileArray, ...]
    rows: Sequence[int]
    per_shard: int

    def __call__(self, row: int) -> Tensor:
        shard, place = divmod(self.rows[row], self.per_shard)
        return torch.from_numpy(self.shards[shard].array[place].astype(np.float32)) / WHITE


class DecodedStore:
    """A folder with a file for each SHARD_IMAGES images in a row, named by its number and by what it was made of.

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
        self.paths = [
            folder / f"{number:05}-{_digest(shape, keys[start : start + SHARD_IMAGES])}.npy"
            for number, start in enumerate(starts)
        ]

    @property
    def made(self) -> int:
        """Shards that are there."""
        return sum(path.is_file() for path in self.paths)

    @property
    def complete(self) -> bool:
        """True if every image is there."""
        return self.made == len(self.paths)

    def images(self, rows: Sequence[int]) -> StoredRows:
        """Images by their places among `rows`, places in the store."""
        lengths = [min(SHARD_IMAGES, self.count - start) for start in range(0, self.count, SHARD_IMAGES)]
        shards = (
            FileArray(path, np.uint8, (length, *self.shape)) for path, length in zip(self.paths, lengths, strict=True)
        )
        return StoredRows(tuple(shards), rows, SHARD_IMAGES)

    def fill(self, read: Callable[[int], Tensor], threads: int | None) -> None:
        """Make the shards that are not there; with a progress bar.

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
                f"{self.folder} must be a folder that can be written to: {error.strerror}. Set dataset.store."
            ) from error
        with Lock(self.folder / "lock"):
            remove_partial(self.folder)
            due = [number for number, path in enumerate(self.paths) if not path.is_file()]
            rows = {
                number: range(number * SHARD_IMAGES, min((number + 1) * SHARD_IMAGES, self.count)) for number in due
            }
            bad: list[str] = []
            with (
                ThreadPoolExecutor(threads) as pool,
                DISPLAY.stage(
                    "decoding images", "images", self.count, self.count - sum(map(len, rows.values()))
                ) as stage,
            ):
                for number, own in rows.items():
                    images: list[_Bytes] = []
                    for found in pool.map(lambda row: _decoded(read, row), own):
                        (bad if isinstance(found, str) else images).append(found)  # type: ignore[arg-type]
                        stage.advance()
                    if len(images) == len(own):
                        self._write(number, images)
        if bad:
            raise ValueError(
                f"each image must be whole, got {len(bad)} bad; shards without one are made:"
                f"{checks.bullet_lines(bad)}\nMend or remove them, and run the same command again."
            )

    def _write(self, number: int, images: Sequence[_Bytes]) -> None:
        """Bring a shard to the disk, and remove those of the same number that it replaces."""
        path = self.paths[number]
        with replacing(path) as partial, partial.open("wb") as file:
            np.save(file, np.stack(images))
        for other in self.folder.glob(f"{number:05}-*.npy"):
            if other != path:
                other.unlink()


class PreparedImages(Images):
    """Base of datasets of which `dovision-prepare` can decode the images, once.

    A subclass sets `shape`, calls `use_store` in `__init__`, and asks `from_store` before it reads an image itself.
    """

    store: DecodedStore | None = None
    threads: int | None = 1  # that read at once; None: as many as there are processors, and a few

    def use_store(self, folder: str | None, keys: Callable[[], Sequence[str]]) -> None:
        """Set the store, if there is to be one.

        Args:
            folder: of the store; None: there is none.
            keys: gives the key of each record.
        """
        if folder is None:
            return
        self.store = DecodedStore(Path(folder).resolve(), self.shape, keys())
        made, count = self.store.made, len(self.store.paths)
        use = "it is read" if made == count else "the files are read; dovision-prepare makes the rest"
        log.info("%s has %d of %d shards: %s", self.store.folder, made, count, use)
        self._read_from_store = made == count
        self.facts = {**self.facts, "images_from_store": self._read_from_store}

    _read_from_store = False

    def from_store(self, rows: Sequence[int]) -> StoredRows | None:
        """Images of the records at these places; None where they are to be read from their files."""
        return self.store.images(rows) if self.store is not None and self._read_from_store else None

    def read_record(self, place: int) -> Tensor:
        """The image of a record, read from its file."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Decode each image once into the folder `store`, which is read from then on; may be stopped and resumed.

        Raises:
            ValueError: there is no `store`, or some images are bad, raised when all others are done.
        """
        if self.store is None:
            raise ValueError(
                "store must be a folder for images that are prepared, got None. Such as dataset.store=data/decoded."
            )
        self.store.fill(self.read_record, self.threads)
        self.facts = {"images_in_store": self.store.count}  # of which this object still reads the files


def stamp(path: Path) -> str:
    """Size and times of a file; that of its last change is new also where a copy keeps the date of what it copies."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _digest(shape: Shape, keys: Sequence[str]) -> str:
    return hashlib.sha256(repr((tuple(shape), list(keys))).encode()).hexdigest()[:16]


def _decoded(read: Callable[[int], Tensor], row: int) -> _Bytes | str:
    try:
        image: _Bytes = read(row).mul(WHITE).round().byte().numpy()
        return image
    except (ValueError, OSError) as error:
        return str(error)
