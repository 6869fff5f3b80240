"""Shards of one job: runs beside the run that is merged from them, to the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dovision.identity.relevance import shard_name
from dovision.store import run_files
from dovision.store.resumable_writer import FinishedShard
from dovision.store.run_directory import RunDirectory

_COMPLETED = "completed"
SHARD_KEY = "evaluation.shard="  # begins the override that chooses it
SHARD = "shard"  # the key of run.json by which a run is a shard of another one
_NAME = re.compile(r"(?P<run>[0-9a-f]{12})-\d+-of-\d+")


class ShardsLacking(ValueError):
    """Shards are incomplete, or belong to another run than the one to merge."""


def is_shard(folder: Path) -> bool:
    """Return whether a run directory is named like a shard, such as 0123456789ab-3-of-64."""
    return _NAME.fullmatch(folder.name) is not None


def merged_folder(folder: Path) -> Path:
    """Run directory that a shard is merged into: that of the unsplit job."""
    match = _NAME.fullmatch(folder.name)
    return folder.with_name(match["run"]) if match else folder


def shard_folders(merged: Path, shards: int) -> list[Path]:
    """Run directories of all shards of a run."""
    return [merged.with_name(shard_name(merged.name, number, shards)) for number in range(shards)]


def missing_shards(merged: Path, shards: int) -> dict[int, str]:
    """State of each incomplete shard of a run, by number."""
    states = [RunDirectory(folder).state for folder in shard_folders(merged, shards)]
    return {number: state for number, state in enumerate(states) if state != _COMPLETED}


def check_folder(folder: Path, shard: int | None) -> None:
    """Raise for a run directory not named like a shard, which could never be merged.

    Raises:
        ValueError: names the folder.
    """
    if shard is not None and not is_shard(folder):
        raise ValueError(
            f"evaluation.shard={shard} needs a run directory of its own name, as 0123456789ab-3-of-64, got {folder}. "
            "Leave hydra.run.dir and hydra.sweep.subdir as they are; output_root=... chooses where it lies."
        )


def check_complete(merged: Path, shards: int, outdated: Mapping[int, str] = MappingProxyType({})) -> None:
    """Raise if shards are missing.

    Raises:
        ShardsLacking: some are not completed, or outdated; the error lists them, and how to measure them.
    """
    if lacking := {**missing_shards(merged, shards), **outdated}:
        listed = ", ".join(f"{number} ({why})" for number, why in sorted(lacking.items()))
        numbers = ",".join(map(str, sorted(lacking)))
        raise ShardsLacking(
            f"evaluation.shards={shards} needs all shards of {merged.name} completed, and of the same code, data and "
            f"weights, got {len(lacking)} that are not: {listed}. Measure them with -m evaluation.shard={numbers}, "
            "which merges them, too."
        )


def finished_shards(merged: Path, shards: int, origin: Mapping[str, Any]) -> list[FinishedShard]:
    """Shards of a run, in order, if all are completed, intact, and of one origin.

    Raises:
        ValueError: some are missing, were changed since, or are of other code, configuration, data or weights.
    """
    check_complete(merged, shards)
    finished = []
    for number, folder in enumerate(shard_folders(merged, shards)):
        record = RunDirectory(folder).read_record()
        shard = record.get(SHARD, {})
        unlike = [name for name, value in origin.items() if json.loads(json.dumps(value)) != record.get(name)]
        if (shard.get("number"), shard.get("of")) != (number, shards):
            unlike.append("place among the shards")
        if wrong := [f"other {', '.join(unlike)}"] if unlike else run_files.digest_differences(folder, record):
            raise ValueError(
                f"shard {number} of {shards} must be of the run that it is merged into, got {'; '.join(wrong)} in "
                f"{folder}. Run the sweep again, which measures it again."
            )
        states = {"effects": shard["state"], "maps": shard["maps"]}
        finished.append(FinishedShard(folder, int(record["images"]), states))
    return finished
