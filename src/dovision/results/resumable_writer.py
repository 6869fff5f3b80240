"""Tables in finished chunks, from which a stopped run resumes, and in one order, by sample, on any number of devices.

chunks/effects/<rank>-of-<devices>/origin.json          what the rows depend on
                                  64.json              written last: the first 64 images are finished
                                  64.samples.parquet   the rows since the chunk before
                                  64.effects.parquet
chunks/{maps,detection,adaptive}/                       the same of maps, of what detectors read, of adaptive attacks
"""

from __future__ import annotations

import itertools
import logging
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import pyarrow as pa

from dovision import checks
from dovision.io.atomic import remove_partial
from dovision.io.text_files import read_json, write_json
from dovision.results.tables import ROW_GROUP, RunTable, row_groups, write_table

log = logging.getLogger(__name__)
CHUNKS_FOLDER = "chunks"
_ORIGIN = "origin.json"
_SECONDS = 60.0  # after which a chunk is finished however few its images are
Merge: TypeAlias = Callable[
    [Callable[[Collection[int] | None], Iterator[pa.Table]], pa.Schema], Iterator[pa.RecordBatch]
]


class Resume(NamedTuple):
    """Rows to resume from: those of earlier starts of the run.

    Args:
        every: images after which their rows are finished on disk; or earlier, after a minute, or when there are enough
            rows.
        origin: all that the rows depend on, in plain types; a change of it is the end of finished rows. None: no other
            start resumes from them.

    Example:
        >>> import dovision as dv
        >>> dv.EffectOptions(resume=dv.Resume(every=16, origin={"weights": "epoch 3"})).resume.every
        16
    """

    every: int = 64
    origin: Mapping[str, Any] | None = None


NO_RESUME = Resume()


class ResumableWriter:
    """Writer of one device's rows, in order: finished chunks, joined at the end.

    Chunks of another origin are removed: rows of other code, data or weights never stand beside these.

    Args:
        folder: the run directory.
        name: of the evaluation, and of the folder of its chunks.
        schemas: of its tables.
        resume: what is taken over of an earlier start.
        device: its rank, and how many there are.
        merges: by table, what makes one table of all chunks, from a function that gives their rows, of some numbers of
            the first column or of all (None), and the schema, where that is more than their rows one after the other.
        row_group: rows that are held in memory, and written together.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        schemas: Mapping[RunTable, pa.Schema],
        resume: Resume,
        device: tuple[int, int] = (0, 1),
        merges: Mapping[RunTable, Merge] = MappingProxyType({}),
        row_group: int = ROW_GROUP,
    ) -> None:
        self.run = folder
        self.name = name
        self.schemas = schemas
        self.every = checks.positive_int("evaluation.checkpoint_every", resume.every, checks.MOST_IMAGES)
        self.origin = resume.origin
        self.merges = merges
        self.row_group = row_group
        rank, self.devices = device
        self.folder = self._folder(rank)
        self._begin()
        self._flushed = time.monotonic()
        self.done = max(_ends(self.folder), default=0)  # finished images, from the first on
        self.state: Mapping[str, Any] = read_json(self.folder / f"{self.done}.json") if self.done else {}
        self._images, self._rows = 0, {table: list[pa.RecordBatch]() for table in schemas}  # not yet finished

    def __enter__(self) -> ResumableWriter:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *error: object) -> None:
        """Finish pending rows; after an exception they are measured again, as after a kill."""
        if error_type is None:
            self.flush()

    def states(self) -> list[dict[str, Any]]:
        """State of each device after its last finished images."""
        ends = ((folder, max(_ends(folder), default=0)) for folder in map(self._folder, range(self.devices)))
        return [read_json(folder / f"{end}.json") for folder, end in ends if end]

    def add(self, images: int, rows: Mapping[RunTable, pa.RecordBatch], state: Mapping[str, Any]) -> None:
        """Add the rows of the next images, and the state after them, in plain types."""
        self._images, self.state = self._images + images, dict(state)
        for table, batches in self._rows.items():
            batches.append(rows[table])
        pending = (sum(map(len, batches)) for batches in self._rows.values())
        late = time.monotonic() - self._flushed >= _SECONDS
        if late or self._images >= self.every or max(pending, default=0) >= self.row_group:
            self.flush()

    def flush(self) -> None:
        """Write pending rows as a chunk."""
        if self._images:
            end = self.done + self._images
            for table, batches in self._rows.items():
                write_table(_chunk(self.folder, end, table), self.schemas[table], batches, self.row_group)
            write_json(self.folder / f"{end}.json", dict(self.state))
            self.done, self._images, self._rows = end, 0, {table: [] for table in self._rows}
        self._flushed = time.monotonic()

    def finished(self, table: RunTable) -> Iterator[pa.Table]:
        """Iterate over a table's finished rows on this device."""
        return _finished(self.folder, table)

    def join(self) -> None:
        """Write the tables from all devices' chunks; bytes do not depend on how rows were split.

        The chunks are removed if no other start resumes from them.
        """
        folders = [self._folder(rank) for rank in range(self.devices)]
        for table, schema in self.schemas.items():

            def chunks(some: Collection[int] | None = None, table: RunTable = table) -> Iterator[pa.Table]:
                return itertools.chain.from_iterable(_finished(folder, table, some) for folder in folders)

            merge = self.merges.get(table)
            write_table(self.run / table, schema, merge(chunks, schema) if merge else chunks(), self.row_group)
        if self.origin is None:
            shutil.rmtree(self.folder.parent)
            with suppress(OSError):  # those of another evaluation lie there, too
                self.folder.parent.parent.rmdir()

    def _folder(self, rank: int) -> Path:
        return self.run / CHUNKS_FOLDER / self.name / f"{rank}-of-{self.devices}"

    def _begin(self) -> None:
        """Create the chunk folder, and remove chunks of another origin."""
        origin: Any = {"start": uuid4().hex} if self.origin is None else checks.plain_value("origin", self.origin)
        if self.folder.exists():
            try:
                recorded = read_json(self.folder / _ORIGIN)
                differing = [name for name in {**recorded, **origin} if recorded.get(name) != origin.get(name)]
            except (FileNotFoundError, ValueError):
                differing = ["their recorded origin"]
            if not differing:
                remove_partial(self.folder)
                return
            log.info("all images are rerun, since these differ: %s", ", ".join(differing))
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        write_json(self.folder / _ORIGIN, origin)


def _ends(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def _finished(folder: Path, table: RunTable, some: Collection[int] | None = None) -> Iterator[pa.Table]:
    for end in _ends(folder):
        yield from row_groups(_chunk(folder, end, table), samples=some)


def _chunk(folder: Path, end: int, table: RunTable) -> Path:
    """File of a table's rows in the chunk with this end."""
    return folder / f"{end}.{table.path.replace('/', '.')}"
