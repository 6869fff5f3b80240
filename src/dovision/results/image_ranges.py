"""Runs that differ in their range of images alone, such as evaluation.images=0:1000,1000:2000, read as one run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dovision.identity.relevance import content_hash, without_irrelevant
from dovision.io.atomic import publish
from dovision.io.text_files import read_json, write_json
from dovision.results.effect_sums import SUMS, merged_sums
from dovision.results.factors import natural
from dovision.results.image_tables import (
    BOXES_FILE,
    MAPS_FILE,
    MASKS_FILE,
    OBJECT_MASKS_FILE,
    SETS_FILE,
    SOURCES_FILE,
)
from dovision.results.run_record import Run, labelled, survey
from dovision.results.schemas import DIGESTS, read_summary
from dovision.results.summary import write_summary
from dovision.results.tables import EFFECTS, SAMPLES, read_schema, row_groups, write_table
from dovision.results.thumbnails import copy_pictures

TABLES = (SAMPLES, EFFECTS, SUMS, SETS_FILE, MAPS_FILE, BOXES_FILE, SOURCES_FILE, MASKS_FILE, OBJECT_MASKS_FILE)
_ORIGIN = ("dataset_fingerprint", "checkpoints", "measurement", "torch", "components", "files")  # of joined runs
_COUNTS = ("images", "images_without_units", "forward_passes", "skipped_edits", "wall_seconds")
_OF_EACH = (DIGESTS, "queries", "dead_gradients", "seconds_per_map", "passes_per_map")  # entries of no joined run
_MEMBERS = "ranges.json"  # digests of the joined runs, by range


def join_ranges(runs: Sequence[Run]) -> list[Run]:
    """Runs with completed ones that differ in their range of images alone as one, in the place of the first.

    Its tables, and summary.json of these, lie in a folder beside the runs. Detection and refuters are of each range,
    and not joined.

    Raises:
        ValueError: ranges overlap.
    """
    groups: dict[str, dict[str, Run]] = {}
    for number, run in enumerate(runs):
        is_range = run.state == "completed" and isinstance(_images(run), str)
        groups.setdefault(_question(run) if is_range else str(number), {})[str(_images(run))] = run
    return [_joined(group) if len(group) > 1 else next(iter(group.values())) for group in groups.values()]


def sorted_ranges(ranges: Iterable[str]) -> list[str]:
    """Ranges in their order.

    Raises:
        ValueError: two overlap, so that an image would count twice.
    """
    ordered = sorted(ranges, key=lambda images: int(images.split(":")[0]))
    for left, right in pairwise(ordered):
        if int(left.split(":")[1]) > int(right.split(":")[0]):
            raise ValueError(
                "evaluation.images must be ranges that do not overlap, since they are read as one run, got "
                f"{left} and {right}. Begin one where the other ends, or remove the run of one."
            )
    return ordered


def read_runs(folder: Path) -> list[Run]:
    """`survey` of a folder, as `join_ranges` reads it; errors are those of both."""
    return sorted(labelled(folder, join_ranges(survey(folder))), key=lambda run: natural(run.label))


def _images(run: Run) -> Any:
    return run.config.get("evaluation", {}).get("images")


def _question(run: Run) -> str:
    """Everything that runs agree in that are read as one."""
    settings = {**run.config, "evaluation": {**run.config["evaluation"], "images": None}}
    return json.dumps([without_irrelevant(settings), *(run.record.get(name) for name in _ORIGIN)], sort_keys=True)


def _joined(run_by_range: Mapping[str, Run]) -> Run:
    ranges = sorted_ranges(run_by_range)
    group = [run_by_range[images] for images in ranges]
    lead = group[0]
    folder = lead.folder.with_name(f"ranges-{content_hash({'runs': _question(lead)})}")
    members = {name: content_hash(run.record[DIGESTS]) for name, run in zip(ranges, group, strict=True)}
    if not (folder / _MEMBERS).is_file() or read_json(folder / _MEMBERS) != members:
        with TemporaryDirectory(prefix=".ranges-", dir=folder.parent) as partial:
            _write(Path(partial, folder.name), [run.folder for run in group])
            write_json(Path(partial, folder.name, _MEMBERS), members)
            shutil.rmtree(folder, ignore_errors=True)
            publish(Path(partial, folder.name), folder)
    record = {name: value for name, value in lead.record.items() if name not in _OF_EACH}
    record |= {name: sum(run.record.get(name) or 0 for run in group) for name in _COUNTS if name in record}
    overrides = [word for word in lead.overrides if not word.startswith("evaluation.images=")]
    record["overrides"] = [*overrides, f"evaluation.images={','.join(ranges)}", "-m"]
    config = {**lead.config, "evaluation": {**lead.config["evaluation"], "images": ", ".join(ranges)}}
    return replace(lead, folder=folder, record=record, config=config, summary=read_summary(folder))


def _write(folder: Path, runs: Sequence[Path]) -> None:
    folder.mkdir()
    for table in TABLES:
        files = [run / table for run in runs if (run / table).is_file()]
        if files:
            schema = read_schema(files[0])

            def rows(groups: Collection[int] | None = None, files: Sequence[Path] = files) -> Any:
                return chain.from_iterable(row_groups(file, samples=groups) for file in files)

            write_table(folder / table, schema, merged_sums(rows, schema) if table == SUMS else rows())
    for run in runs:
        copy_pictures(run, folder)
    write_summary(folder)
