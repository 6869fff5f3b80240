"""The films of ChestX-ray14: their files, and a store of films decoded once, which is memory-mapped for reading."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from dovision import checks
from dovision.datasets import _image_io
from dovision.io import arrays
from dovision.io import files as input_files
from dovision.io.arrays import FileArray
from dovision.io.atomic import remove_partial, replacing
from dovision.io.locking import Lock
from dovision.runtime.progress import DISPLAY
from dovision.types import Shape

log = logging.getLogger(__name__)
STATUS = ["bytes", "modified", "replaced"]  # the last two in nanoseconds since 1970, of the content and of the entry
FILMS_PER_CHUNK = 128  # films decoded before they are written and marked; they are what a kill can lose
IMAGES_FILE = "images.npy"  # (N, size, size) uint8
SOURCES = "sources.npy"  # (N, 3) int64: STATUS of the file that a row was made from; zeros: not made
HASHES = "hashes.npy"  # (N, 32) uint8: its SHA-256
INDEX = "index.json"  # the N names; written last, so that where it is, the store is whole

HASH = 32  # bytes

Bytes = npt.NDArray[np.uint8]


def films_on_disk(root: Path) -> pd.DataFrame:
    """A row a PNG file: name, path, and its STATUS.

    The files lie in images_001/images, images_002/images, ... as they are released, or all in images.
    """
    folders = [folder for folder in (*sorted(root.glob("images_*/images")), root / "images") if folder.is_dir()]
    if not folders:
        raise FileNotFoundError(
            f"{root} must hold the films in images_001/images, images_002/images, ... or in images, but has no such "
            "folder. Unpack the archives there, or set dataset.root."
        )
    rows = []
    for folder in folders:
        with os.scandir(folder) as files:
            for file in files:
                if file.name.endswith(".png") and not file.name.startswith("."):
                    status = file.stat()
                    rows.append((file.name, file.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    found = pd.DataFrame(rows, columns=["name", "path", *STATUS])
    twice = found["name"].duplicated(keep=False)
    if twice.any():
        one, other = found[twice].sort_values("name", kind="stable")["path"].iloc[:2]
        raise ValueError(f"each film must lie in one folder, but one lies at {one} and {other}. Remove one of them.")
    return found


def read_film(path: Path, shape: Shape) -> Tensor:
    """A film made grey, and repeated for three channels; shape `shape`, float in [0, 1].

    It must be a square, as each released film is, or boxes would not fit.
    """
    film = _image_io.pixels(path, 1)
    _, height, width = film.shape
    if height != width:
        raise ValueError(
            f"{path} must be a square, as the films of ChestX-ray14 are, got {height} x {width} pixels. Take the film "
            "as it was released, or made smaller as a whole."
        )
    return _image_io.repeat_grey(film, shape)


class _FilmState(NamedTuple):
    """Of each film asked for: whether the store has it, and whether its file is another than the store was made of."""

    made: npt.NDArray[np.bool_]
    changed: npt.NDArray[np.bool_]

    @property
    def complete(self) -> bool:
        return bool(self.made.all())


class Store:
    """A row of `size` x `size` grey bytes for each film of a table; rows of films not decoded yet take no space.

    A row is marked as made only after its bytes have reached the disk, so that a store may be filled bit by bit, be
    killed at any moment, and be filled on.

    `folder` is where the store lies, or will; `names` are all films there can be, used when the store is made.
    """

    def __init__(self, folder: Path, size: int, names: pd.Series[str]) -> None:
        self.folder = folder
        self.size = size
        self.names = names

    @property
    def images(self) -> FileArray:
        return FileArray(self.folder / IMAGES_FILE, *self._layout(len(self._stored()))[IMAGES_FILE])

    def rows(self, names: pd.Series[str]) -> npt.NDArray[np.intp]:
        """The row of each film; -1 if the store has none for it."""
        return pd.Index(self._stored(), dtype=object).get_indexer(names.to_numpy(dtype=object))

    def state(self, files: pd.DataFrame) -> _FilmState:
        """State of films, given by name, path and STATUS; a file of another time is read: its bytes may differ."""
        rows = self.rows(files["name"])
        sources, hashes = np.zeros((len(files), len(STATUS)), np.int64), np.zeros((len(files), HASH), np.uint8)
        if (rows >= 0).any():
            sources[rows >= 0] = self._array(SOURCES)[rows[rows >= 0]]
            hashes[rows >= 0] = self._array(HASHES)[rows[rows >= 0]]
        stored = sources.any(axis=1)
        same = (sources == files[STATUS].to_numpy()).all(axis=1)
        doubtful = np.flatnonzero(stored & ~same & (sources[:, 0] == files["bytes"]))
        if len(doubtful):
            log.info("reading %s films whose times are not those of when they were stored", f"{len(doubtful):,}")
            with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
                found = np.array(list(pool.map(_hash, files["path"].iloc[doubtful])))
            same[doubtful] = (found == hashes[doubtful]).all(axis=1)
        return _FilmState(same, stored & ~same)

    def hashes(self, names: pd.Series[str]) -> list[str]:
        """The SHA-256 of the file that the row of each film was made from."""
        return [row.tobytes().hex() for row in self._array(HASHES)[self.rows(names)]]

    def fill(self, files: pd.DataFrame, workers: int) -> None:
        """Decode what the store does not have yet, or has of another file, by so many threads; with a progress bar.

        Raises:
            ValueError: a file is bad, raised when all others are done; or a film is none of the store's.
            PermissionError: the store cannot be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise PermissionError(
                f"{self.folder} must be a folder that can be written to: {error.strerror}. Make a folder of your own "
                "with links to the tables, the lists and the folders of films, and set dataset.root to it."
            ) from error
        with Lock(self.folder / "lock"):
            if not self._is_whole:
                self._create()
            made = self.state(files).made
            self._array(SOURCES, "r+")[self.rows(files["name"][made])] = files[STATUS][made]  # of the same bytes
            due = files[~made]
            rows = self.rows(due["name"])
            if (rows < 0).any():
                raise ValueError(
                    f"{self.folder} must have a row for each film, but was made from another table, without "
                    f"{due['name'].iloc[int(np.argmin(rows))]}. Remove the folder and prepare again."
                )
            bad = self._decode(due, rows, workers)
        if bad:
            raise ValueError(
                f"each film must be a whole image, got {len(bad)} bad; all others are prepared:"
                f"{checks.bullet_lines(bad)}\nMend or remove them, and run the same command again."
            )

    def _layout(self, count: int) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
        """Type and shape of each array of a store of so many films."""
        return {
            IMAGES_FILE: (np.uint8, (count, self.size, self.size)),
            SOURCES: (np.int64, (count, len(STATUS))),
            HASHES: (np.uint8, (count, HASH)),
        }

    def _array(self, name: str, mode: str = "r") -> Any:
        return arrays.mapped(self.folder / name, *self._layout(len(self._stored()))[name], mode)

    @property
    def _is_whole(self) -> bool:
        """Return whether the store is made, by a version that kept hashes."""
        return (self.folder / INDEX).exists() and (self.folder / HASHES).exists()

    def _stored(self) -> list[str]:
        """The name of each row's film; none where the store is not made yet."""
        index = self.folder / INDEX
        if not self._is_whole:
            return []
        try:
            stored = json.loads(input_files.read_text(index))
        except ValueError as error:
            raise ValueError(f"{index} must hold the names of films: {error}. Remove the folder.") from error
        if not isinstance(stored, list) or not all(isinstance(name, str) for name in stored):
            raise ValueError(f"{index} must hold the names of films, got something else. Remove the folder.")
        return stored

    def _create(self) -> None:
        """Empty arrays, each under another name until it is whole."""
        remove_partial(self.folder)
        (self.folder / INDEX).unlink(missing_ok=True)
        for name, (dtype, shape) in self._layout(len(self.names)).items():
            with replacing(self.folder / name) as part:
                np.lib.format.open_memmap(part, "w+", dtype, shape).flush()
        with replacing(self.folder / INDEX) as part:
            part.write_text(json.dumps(self.names.tolist()))

    def _decode(self, due: pd.DataFrame, rows: npt.NDArray[np.intp], workers: int) -> list[str]:
        """Fill these rows, a chunk at a time; what is wrong with those that cannot be."""
        bad = []
        sources, hashes = self._array(SOURCES, "r+"), self._array(HASHES, "r+")
        with ThreadPoolExecutor(workers) as pool, DISPLAY.stage("decoding films", "films", len(due)) as stage:
            for start in range(0, len(due), FILMS_PER_CHUNK):
                chunk = due.iloc[start : start + FILMS_PER_CHUNK]
                done = {}
                for place, film in enumerate(pool.map(self._film, chunk["path"])):
                    if isinstance(film, str):
                        bad.append(film)
                    else:
                        done[place] = film
                    stage.advance()
                places = list(done)
                own = rows[start : start + FILMS_PER_CHUNK][places]
                sources[own] = 0  # what is written over is not made until it is whole
                sources.flush()
                self._write(own, [pixels for pixels, _ in done.values()])
                hashes[own] = [hash for _, hash in done.values()]
                hashes.flush()
                sources[own] = chunk[STATUS].to_numpy()[places]
                sources.flush()
        return bad

    def _film(self, path: str) -> tuple[Bytes, Bytes] | str:
        """The film's row and the SHA-256 of its file, or what is wrong with it."""
        try:
            hash = _hash(path)  # if the file is exchanged from here on, its time is not that of the row
            film = read_film(Path(path), (1, self.size, self.size))
        except (ValueError, OSError) as error:
            return str(error)
        return film[0].mul(255).round().byte().numpy(), hash

    def _write(self, rows: npt.NDArray[np.intp], films: Sequence[Bytes]) -> None:
        """Bring films to the disk; not through a map, whose pages would count as this process's memory."""
        images: Any = self.images.array
        with (self.folder / IMAGES_FILE).open("r+b") as file:
            for row, film in zip(rows.tolist(), films, strict=True):
                file.seek(images.offset + row * film.nbytes)
                file.write(film.tobytes())
            file.flush()
            os.fsync(file.fileno())


def _hash(path: str) -> Bytes:
    return np.frombuffer(bytes.fromhex(input_files.sha256(path)), np.uint8)
