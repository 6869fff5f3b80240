"""The tables of a run in finished parts, so that a run that was stopped goes on after the last of them.

parts/<rank>-of-<devices>/origin.json          what the rows depend on
                          64.json              written last: the first 64 images are finished
                          64.samples.parquet   the rows since the part before
                          64.effects.parquet
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dovision import checks
from dovision.atomic import remove_partial
from dovision.results.files import read_json, write_json
from dovision.results.tables import ROW_GROUP, TableWriter, row_groups

log = logging.getLogger(__name__)
PARTS = "parts"
ORIGIN = "origin.json"


class Parts:
    """Rows of the images of one device, in order, kept in finished parts and joined at the end.

    Parts of another origin are removed: rows of other code, data or weights never stand beside these.

    Args:
        folder: the run directory.
        schemas: of the tables, by file name.
        every: images after which a part is finished; or earlier, when there are enough rows.
        origin: all that the rows depend on, in plain types.
        rank, devices: which of how many devices this is.
    """

    def __init__(
        self,
        folder: Path,
        schemas: Mapping[str, pa.Schema],
        every: int,
        origin: Mapping[str, Any],
        rank: int = 0,
        devices: int = 1,
    ) -> None:
        self.run = folder
        self.schemas = schemas
        self.every = checks.positive_int("evaluation.flush", every)
        self.devices = devices
        self.folder = _folder(folder, rank, devices)
        self._begin(checks.plain("origin", origin))  # type: ignore[arg-type]
        ends = _ends(self.folder)
        self.done = ends[-1] if ends else 0  # images that are finished, the first ones
        self.told: dict[str, Any] = {}  # as given to `add` with the last of them
        if ends:
            self.told = read_json(self.folder / f"{self.done}.json")
        self._images = 0
        self._rows: dict[str, list[pa.RecordBatch]] = {name: [] for name in schemas}

    def add(self, images: int, rows: Mapping[str, pa.RecordBatch], told: Mapping[str, Any]) -> None:
        """Add the rows of the next images, and what else there is to tell of all images so far, in plain types."""
        self._images += images
        for name, batch in rows.items():
            self._rows[name].append(batch)
        self.told = dict(told)
        if self._images >= self.every or any(sum(map(len, batches)) >= ROW_GROUP for batches in self._rows.values()):
            self.flush()

    def flush(self) -> None:
        """Finish a part with the rows that wait."""
        if not self._images:
            return
        end = self.done + self._images
        for name, schema in self.schemas.items():
            with TableWriter(self.folder / f"{end}.{name}", schema) as table:
                for batch in self._rows[name]:
                    table.write(batch)
        write_json(self.folder / f"{end}.json", self.told)
        self.done, self._images = end, 0
        self._rows = {name: [] for name in self.schemas}

    def join(self) -> None:
        """Write the tables, from the parts of all devices; the same bytes however the rows were cut into parts."""
        folders = [_folder(self.run, rank, self.devices) for rank in range(self.devices)]
        for name, schema in self.schemas.items():
            with TableWriter(self.run / name, schema) as table:
                for batch in _batches(folders, name):
                    table.write(batch)

    def _begin(self, origin: dict[str, Any]) -> None:
        if self.folder.exists():
            differing = _differing(self.folder / ORIGIN, origin)
            if not differing:
                remove_partial(self.folder)
                return
            log.info("the images measured before are measured again, since these differ: %s", ", ".join(differing))
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        write_json(self.folder / ORIGIN, origin)


def _folder(run: Path, rank: int, devices: int) -> Path:
    return run / PARTS / f"{rank}-of-{devices}"


def _ends(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())


def _batches(folders: Sequence[Path], name: str) -> Iterator[pa.RecordBatch]:
    for folder in folders:
        for end in _ends(folder):
            for rows in row_groups(folder / f"{end}.{name}"):
                yield from rows.to_batches()


def _differing(path: Path, origin: Mapping[str, Any]) -> list[str]:
    """In what the origin kept in a file differs from this one."""
    try:
        kept = read_json(path)
    except (FileNotFoundError, ValueError):
        return ["what was kept of them"]
    return [name for name in {**kept, **origin} if kept.get(name) != origin.get(name)]
