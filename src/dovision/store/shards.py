"""Tables in finished shards, from which a stopped run resumes, and in one order, by sample, on any number of devices.

shards/effects/<rank>-of-<devices>/origin.json          what the rows depend on
                                  64.json              written last: the first 64 images are finished
                                  64.samples.parquet   the rows since the shard before
                                  64.effects.parquet
shards/{maps,detection,adaptive}/                       the same of maps, of what detectors read, of adaptive attacks
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import numpy as np
import pyarrow as pa

from dovision import checks
from dovision.io.atomic import remove_partial, replacing
from dovision.io.text_files import read_json, write_json
from dovision.store.tables import ROW_GROUP, row_groups, write_table

log = logging.getLogger(__name__)
SHARDS_FOLDER = "shards"
_ORIGIN = "origin.json"
_SECONDS = 60.0  # after which a shard is finished however few its images are
Merge: TypeAlias = Callable[[Callable[[], Iterator[pa.Table]], pa.Schema], Iterator[pa.RecordBatch]]


class FinishedShard(NamedTuple):
    """A completed run that measured a part of the images: its directory, how many, and what was counted over them."""

    folder: Path
    images: int
    state: Mapping[str, Any]
    maps: Mapping[str, Mapping[str, float]] = MappingProxyType({})  # `MapEvaluation.counted`


class _Waiting(NamedTuple):
    """Rows that are in no finished shard yet; replaced as one, so that a signal finds it whole at any moment."""

    done: int  # images that are finished, the first ones
    images: int  # those that wait
    rows: Mapping[str, tuple[pa.RecordBatch, ...]]
    state: Mapping[str, Any]


class Shards:
    """Rows of the images of one device, in order, written in finished shards and joined at the end.

    Shards of another origin are removed: rows of other code, data or weights never stand beside these.

    Args:
        folder: the run directory.
        stage: what is measured, a folder's name.
        schemas: of the tables, by file name.
        every: images after which a shard is finished; or earlier, after a minute, or when there are enough rows.
        origin: all that the rows depend on, in plain types. None: no other start resumes from these shards.
        rank, devices: which of how many devices this is.
        merged: by file name, what makes one table of all shards, from a function that gives them and the schema, where
            that is more than their rows one after the other.
        row_group: rows that are held in memory, and written together.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        schemas: Mapping[str, pa.Schema],
        every: int,
        origin: Mapping[str, Any] | None,
        rank: int = 0,
        devices: int = 1,
        merged: Mapping[str, Merge] = MappingProxyType({}),
        row_group: int = ROW_GROUP,
    ) -> None:
        self.run = folder
        self.stage = stage
        self.schemas = schemas
        self.every = checks.positive_int("evaluation.checkpoint_every", every, checks.MOST_IMAGES)
        self.devices = devices
        self.merged = merged
        self.row_group = row_group
        self.folder = self._folder(rank)
        self._begin({"start": uuid4().hex} if origin is None else checks.plain_value("origin", origin))  # type: ignore[arg-type]
        self._flushed = time.monotonic()
        done = max(_ends(self.folder), default=0)
        state = read_json(self.folder / f"{done}.json") if done else {}
        self._waiting = _Waiting(done, 0, dict.fromkeys(schemas, ()), state)

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Finish what waits, at an exception as well; where that fails, it is the first exception that counts."""
        with suppress(OSError) if kind else nullcontext():  # the disk may be full
            self.flush()

    @property
    def done(self) -> int:
        """Number of finished images, the first ones."""
        return self._waiting.done

    @property
    def state(self) -> Mapping[str, Any]:
        """As given to `add` with the last images; empty if there are none."""
        return self._waiting.state

    def adopt(self, parts: Sequence[FinishedShard]) -> None:
        """Take the tables of runs that measured a part of the images each, in their order, as finished shards.

        Those that are finished here already stay, if they are all of them; else they give way.
        """
        parts = [part for part in parts if part.images]
        ends = np.cumsum([part.images for part in parts]).tolist()
        if self.done == ends[-1]:
            return
        for path in self.folder.glob("*"):
            if path.name != _ORIGIN:
                path.unlink()
        for number, (part, end) in enumerate(zip(parts, ends, strict=True), 1):
            for name in self.schemas:
                _link(part.folder / name, _part(self.folder, end, name))
            write_json(self.folder / f"{end}.json", added([each.state for each in parts[:number]]))
        state = read_json(self.folder / f"{ends[-1]}.json")
        self._waiting = _Waiting(ends[-1], 0, dict.fromkeys(self.schemas, ()), state)

    def add(self, images: int, rows: Mapping[str, pa.RecordBatch], state: Mapping[str, Any]) -> None:
        """Add the rows of the next images, and the state after all images so far, in plain types."""
        before = self._waiting
        batches = {name: (*before.rows[name], rows[name]) for name in self.schemas}
        self._waiting = _Waiting(before.done, before.images + images, batches, dict(state))
        late = time.monotonic() - self._flushed >= _SECONDS
        if (
            late
            or self._waiting.images >= self.every
            or any(sum(map(len, each)) >= self.row_group for each in batches.values())
        ):
            self.flush()

    def flush(self) -> None:
        """Finish a shard with the rows that wait."""
        done, images, rows, state = self._waiting
        if not images:
            return
        end = done + images
        for name, schema in self.schemas.items():
            write_table(_part(self.folder, end, name), schema, rows[name], self.row_group)
        write_json(self.folder / f"{end}.json", dict(state))
        self._waiting = _Waiting(end, 0, dict.fromkeys(self.schemas, ()), state)
        self._flushed = time.monotonic()

    def finished(self, name: str) -> Iterator[pa.Table]:
        """The rows of a table that this device has finished, some images at a time, with all rows of theirs."""
        return _whole_images(_finished(self.folder, name), self.schemas[name])

    def join(self) -> None:
        """Write the tables, from the shards of all devices; the same bytes however the rows were cut into shards."""
        folders = [self._folder(rank) for rank in range(self.devices)]
        for name, schema in self.schemas.items():

            def parts(name: str = name) -> Iterator[pa.Table]:
                return itertools.chain.from_iterable(_finished(folder, name) for folder in folders)

            merge = self.merged.get(name)
            write_table(self.run / name, schema, merge(parts, schema) if merge else parts(), self.row_group)

    def remove(self) -> None:
        """Remove the shards of all devices."""
        shutil.rmtree(self.folder.parent)
        with suppress(OSError):  # those of another stage lie there, too
            self.folder.parent.parent.rmdir()

    def _folder(self, rank: int) -> Path:
        return self.run / SHARDS_FOLDER / self.stage / f"{rank}-of-{self.devices}"

    def _begin(self, origin: dict[str, Any]) -> None:
        if self.folder.exists():
            try:
                recorded = read_json(self.folder / _ORIGIN)
                differing = [name for name in {**recorded, **origin} if recorded.get(name) != origin.get(name)]
            except (FileNotFoundError, ValueError):
                differing = ["their recorded origin"]
            if not differing:
                remove_partial(self.folder)
                return
            log.info("the images measured before are measured again, since these differ: %s", ", ".join(differing))
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        write_json(self.folder / _ORIGIN, origin)


def _ends(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def _finished(folder: Path, name: str) -> Iterator[pa.Table]:
    for end in _ends(folder):
        yield from row_groups(_part(folder, end, name))


def _part(folder: Path, end: int, name: str) -> Path:
    """The rows of a table, which may lie in a folder of the run directory, in the shard that ends there."""
    return folder / f"{end}.{name.replace('/', '.')}"


def _whole_images(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of tables, cut between images where rows have a sample; equal ones come one after the other."""
    waiting = schema.empty_table()
    for table in tables:
        rows = pa.concat_tables([waiting, table])
        cut = len(rows)
        if "sample" in schema.names and len(rows):
            sample = rows["sample"].to_numpy()
            cut = int(np.argmax(sample == sample[-1]))
        if cut:
            yield rows.slice(0, cut)
        waiting = rows.slice(cut)
    if len(waiting):
        yield waiting


def _link(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it where the file system has no such thing."""
    with replacing(path) as partial:
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


def added(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sum of what was counted over the images of several shards, number by number.

    `chunk_limit`, which is no count, is the smallest that there is.
    """
    limits = [state["chunk_limit"] for state in states if state.get("chunk_limit") is not None]
    found: dict[str, Any] = _sum([{name: n for name, n in state.items() if name != "chunk_limit"} for state in states])
    return {**found, **({"chunk_limit": min(limits, default=None)} if "chunk_limit" in states[0] else {})}


def _sum(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _sum([value[name] for value in values]) for name in first}
    if isinstance(first, list):
        return [_sum(each) for each in zip(*values, strict=True)]
    return sum(values)


def by_sample(conditions: Sequence[pa.RecordBatch], images: int) -> pa.RecordBatch:
    """The rows of the same images in several conditions, image by image, and condition by condition within an image.

    Args:
        conditions: for each condition its rows, image by image, the same number for each image.
        images: how many images there are.
    """
    ends = np.cumsum([len(rows) for rows in conditions])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    order = np.concatenate([part.reshape(images, -1) for part in parts], axis=1).reshape(-1)
    table = pa.Table.from_batches(conditions).unify_dictionaries().combine_chunks().take(order)
    return table.combine_chunks().to_batches()[0]
