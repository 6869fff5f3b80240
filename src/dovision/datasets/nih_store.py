"""Films decoded once, into one array of bytes that is memory-mapped for reading."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from dovision import checks
from dovision.atomic import publish, replacing
from dovision.datasets import nih_films
from dovision.datasets.file_array import FileArray
from dovision.inputs import arrays
from dovision.inputs import files as input_files
from dovision.locking import Lock

CHUNK = 128  # films decoded before they are written and marked; they are what a kill can lose
IMAGES = "images.npy"  # (N, size, size) uint8
SOURCES = "sources.npy"  # (N, 2) int64: bytes and time of change of the file that a row was made from; zeros: not made
INDEX = "index.json"  # the N names; written last, so that where it is, the store is whole

Pixels = npt.NDArray[np.uint8]


class State(NamedTuple):
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

    Args:
        folder: where the store lies, or will.
        size: height and width of a row, in pixels.
        names: all films there can be; used when the store is made.
    """

    def __init__(self, folder: Path, size: int, names: pd.Series[str]) -> None:
        self.folder = folder
        self.size = size
        self.names = names

    @property
    def images(self) -> FileArray:
        return FileArray(self.folder / IMAGES, np.uint8, (len(self._stored()), self.size, self.size))

    def rows(self, names: pd.Series[str]) -> npt.NDArray[np.intp]:
        """The row of each film; -1 if the store has none for it."""
        return pd.Index(self._stored(), dtype=object).get_indexer(names.to_numpy(dtype=object))

    def state(self, files: pd.DataFrame) -> State:
        """What the store has of these films, of columns name, bytes and modified."""
        rows = self.rows(files["name"])
        made = np.zeros((len(files), 2), dtype=np.int64)
        if (rows >= 0).any():
            made[rows >= 0] = self._sources("r")[rows[rows >= 0]]
        same = (made == files[["bytes", "modified"]].to_numpy()).all(axis=1)
        return State(same, ~same & made.any(axis=1))

    def fill(self, files: pd.DataFrame, workers: int) -> None:
        """Decode what the store does not have yet, or has of another file; with a progress bar on a terminal.

        Args:
            files: films, of columns name, path, bytes and modified.
            workers: threads that decode.

        Raises:
            ValueError: a file is bad, which is said when all others are done; or a film is none of the store's.
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
            if not (self.folder / INDEX).exists():
                self._create()
            due = files[~self.state(files).made]
            rows = self.rows(due["name"])
            if (rows < 0).any():
                raise ValueError(
                    f"{self.folder} must have a row for each film, but was made from another table, without "
                    f"{due['name'].iloc[int(np.argmin(rows))]}. Remove the folder and prepare again."
                )
            bad = self._decode(due, rows, workers)
        if bad:
            raise ValueError(
                f"each film must be a whole image, got {len(bad)} bad; all others are prepared:{checks.lines(bad)}\n"
                "Mend or remove them, and run the same command again."
            )

    def _stored(self) -> list[str]:
        """The name of each row's film; none where the store is not made yet."""
        index = self.folder / INDEX
        if not index.exists():
            return []
        try:
            stored = json.loads(input_files.read_text(index))
        except ValueError as error:
            raise ValueError(f"{index} must hold the names of films: {error}. Remove the folder.") from error
        if not isinstance(stored, list) or not all(isinstance(name, str) for name in stored):
            raise ValueError(f"{index} must hold the names of films, got something else. Remove the folder.")
        return stored

    def _sources(self, mode: str) -> arrays.Array:
        return arrays.mapped(self.folder / SOURCES, np.int64, (len(self._stored()), 2), mode)

    def _create(self) -> None:
        """Empty arrays, each under another name until it is whole."""
        count = len(self.names)
        arrays = {IMAGES: (np.uint8, (count, self.size, self.size)), SOURCES: (np.int64, (count, 2))}
        for name, (dtype, shape) in arrays.items():
            part = self.folder / f"{name}.part"
            np.lib.format.open_memmap(part, "w+", dtype, shape).flush()
            publish(part, self.folder / name)
        with replacing(self.folder / INDEX) as part:
            part.write_text(json.dumps(self.names.tolist()))

    def _decode(self, due: pd.DataFrame, rows: npt.NDArray[np.intp], workers: int) -> list[str]:
        """Fill these rows, a chunk at a time; what is wrong with those that cannot be."""
        bad = []
        sources: Any = self._sources("r+")
        with ThreadPoolExecutor(workers) as pool, tqdm(total=len(due), desc="decoding films", disable=None) as bar:
            for start in range(0, len(due), CHUNK):
                chunk = due.iloc[start : start + CHUNK]
                done = {}
                for place, film in enumerate(pool.map(self._film, chunk["path"])):
                    if isinstance(film, str):
                        bad.append(film)
                    else:
                        done[place] = film
                    bar.update()
                places = list(done)
                self._write(rows[start : start + CHUNK][places], list(done.values()))
                sources[rows[start : start + CHUNK][places]] = chunk[["bytes", "modified"]].to_numpy()[places]
                sources.flush()
        return bad

    def _film(self, path: str) -> Pixels | str:
        """The film's row, or what is wrong with its file."""
        try:
            film = nih_films.read(Path(path), (1, self.size, self.size))
        except (ValueError, OSError) as error:
            return str(error)
        return film[0].mul(255).round().byte().numpy()

    def _write(self, rows: npt.NDArray[np.intp], films: Sequence[Pixels]) -> None:
        """Bring films to the disk; not through a map, whose pages would count as this process's memory."""
        images: Any = self.images.array
        with (self.folder / IMAGES).open("r+b") as file:
            for row, film in zip(rows.tolist(), films, strict=True):
                file.seek(images.offset + row * film.nbytes)
                file.write(film.tobytes())
            file.flush()
            os.fsync(file.fileno())
