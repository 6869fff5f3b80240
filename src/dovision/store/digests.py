"""Digests of a run's files: recorded when the run is completed, compared whenever its files are to be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dovision.io.files import sha256
from dovision.store.schemas import DIGESTS

# All that is read of a run. Without a digest are run.json, which holds them; the lock, and parts/, which a completed
# run no longer has; and what nothing reads: run.log and the files of loggers, which are written on after the end.
DIGESTED = ("*.parquet", "summary.json", ".hydra/*.yaml", "reads/*.parquet", "maps/*.png", "attacked/*/*")


def digested_files(folder: Path) -> dict[str, Path]:
    """The files of a run that have a digest, by their path in its directory."""
    found = sorted(path for pattern in DIGESTED for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each of these files, as they are recorded in run.json."""
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in digested_files(folder).items()
    }


def digest_differences(folder: Path, facts: Mapping[str, Any], digest: Callable[[Path], str] = sha256) -> list[str]:
    """Files of a completed run that are not those it has recorded, and in what way; empty if all are.

    Args:
        folder: the run directory.
        facts: its run.json.
        digest: the SHA-256 of a file; asked for files of the recorded size only.
    """
    recorded = facts.get(DIGESTS)
    if not recorded:
        return ["run.json records no digests of the tables"]
    return list(_differences(recorded, digested_files(folder), digest))


def _differences(
    recorded: Mapping[str, Any], found: Mapping[str, Path], digest: Callable[[Path], str]
) -> Iterator[str]:
    for name in sorted({*recorded, *found}):
        if name not in found:
            yield f"{name} is missing"
        elif name not in recorded:
            yield f"{name} is none of the files that the run has recorded"
        elif (size := found[name].stat().st_size) != recorded[name]["bytes"]:
            yield f"{name} has {size:,} of {recorded[name]['bytes']:,} bytes"
        elif digest(found[name]) != recorded[name]["sha256"]:
            yield f"{name} has other content"
