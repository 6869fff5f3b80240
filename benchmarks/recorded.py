"""The benchmark's table on disk: resumed after an interruption, and held against an earlier one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

KEY = ("what", "images", "threads", "peer")  # what names a row
CODE = ("src/dovision", "benchmarks")  # folders whose code decides the times
GATE = 0.85  # of an earlier ratio, below which a network has become slower


def code_digest(root: Path) -> str:
    """Of the package's files and of the benchmark's, by content."""
    digest = hashlib.sha256()
    for folder in CODE:
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


class Table:
    """Rows in `table.json`, with the machine, the versions and the code that they were measured on.

    Rows that are there already are not measured again; those of another machine, version or code are put aside in a
    file of their own, for they are no part of one table.

    Args:
        folder: where table.json, table.csv and table.md lie.
        origin: machine, versions and code, as strings.

    Raises:
        ValueError: `table.json` is there and is not such a table.
    """

    def __init__(self, folder: Path, origin: Mapping[str, str]) -> None:
        self.folder = folder
        self.origin = dict(origin)
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "table.json"
        if self.file.exists():
            found = read(self.file)
            if found["origin"] == self.origin:
                self.rows = found["rows"]
            else:
                content = hashlib.sha256(self.file.read_bytes()).hexdigest()
                self.file.replace(folder / f"table-{content[:12]}.json")

    def has(self, **key: object) -> bool:
        """Return whether there is a row with these values."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row, in place of one of the same name, and write all files; none is ever half written."""
        name = [row.get(part) for part in KEY]
        self.rows = [old for old in self.rows if [old.get(part) for part in KEY] != name] + [dict(row)]
        _write(self.file, json.dumps({"origin": self.origin, "rows": self.rows}, indent=1) + "\n")
        _write(self.folder / "table.csv", pd.DataFrame(self.rows).to_csv(index=False))
        _write(self.folder / "table.md", self.markdown())

    def markdown(self) -> str:
        """The table, with columns that are empty throughout left out, and its origin below."""
        table = pd.DataFrame(self.rows).dropna(axis=1, how="all")
        lines = ["| " + " | ".join(table.columns) + " |", "| " + " | ".join("---" for _ in table.columns) + " |"]
        lines += ["| " + " | ".join(map(_shown, row)) + " |" for row in table.itertuples(index=False)]
        lines += ["", *(f"{name}: {value}" for name, value in self.origin.items())]
        return "\n".join(lines) + "\n"


def read(file: Path) -> dict[str, Any]:
    """A table that was written before.

    Raises:
        ValueError: the file is no table of the benchmark.
    """
    try:
        found = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file} must be a table of the benchmark, but is not JSON: {error}. Remove it.") from None
    if not (isinstance(found, dict) and isinstance(found.get("rows"), list) and isinstance(found.get("origin"), dict)):
        raise ValueError(f"{file} must be a table of the benchmark, with 'origin' and 'rows'. Remove it.")
    return found


def slower(rows: Iterable[Mapping[str, Any]], before: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each row whose ratio, or operations of the peer over ours, is below `GATE` of that row's before.

    Raises:
        ValueError: there are rows before, and none of the same name now.
    """
    rows, earlier = list(rows), {tuple(row.get(part) for part in KEY): row for row in before}
    if earlier and not any(tuple(row.get(part) for part in KEY) in earlier for row in rows):
        raise ValueError(
            "the gate needs rows that are in both tables, got none. Measure the networks of the earlier one."
        )
    found = []
    for row in rows:
        for name in ("ratio", "operations"):
            was, now = earlier.get(tuple(row.get(part) for part in KEY), {}).get(name), row.get(name)
            if was and now and now < GATE * was:
                against = f"against {row['peer']}, {name}"
                found.append(f"{row['what']}, {row['images']} images, {against}: {now:.2f}, was {was:.2f}.")
    return found


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(text)
    os.replace(part, file)


def _shown(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and pd.isna(cell)):
        return ""
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)
