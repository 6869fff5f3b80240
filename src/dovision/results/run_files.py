"""Files of a run directory, and the digests that show whether they are as the run has left them.

A digest is recorded when the run is completed, and compared whenever the file is to be relied on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dovision.io.files import sha256
from dovision.results.detection_tables import ADAPTIVE_STEPS, ATTACKS, COMPARISON, READS, SCORES
from dovision.results.effect_sums import SUMS
from dovision.results.image_tables import (
    BOXES_FILE,
    MAPS_FILE,
    MASKS_FILE,
    OBJECT_MASKS_FILE,
    REFUTERS_FILE,
    SETS_FILE,
    SOURCES_FILE,
)
from dovision.results.resumable_writer import CHUNKS_FOLDER
from dovision.results.schemas import DIGESTS, SUMMARY
from dovision.results.tables import EFFECTS, REMOVED, RESUMED, SAMPLES, STAYS, RunFile
from dovision.results.thumbnails import EFFECT_MAPS_FOLDER

RUN, FINDINGS = "run.json", "findings.json"
LOCK = ".run.lock"


RUN_FILES: tuple[RunFile, ...] = (  # run.json first, so that what is left of the others is never taken for a whole run
    RunFile(
        RUN,
        "state, overrides, seed, versions, commit, wall time, peak memory, forward passes, "
        "checkpoints, data, images measured, and the digests of other files",
        digested=False,
    ),
    SAMPLES,
    EFFECTS,
    SUMS,
    MAPS_FILE,
    BOXES_FILE,
    REFUTERS_FILE,
    SOURCES_FILE,
    SETS_FILE,
    MASKS_FILE,
    OBJECT_MASKS_FILE,
    ATTACKS,
    READS,
    SCORES,
    ADAPTIVE_STEPS,
    RunFile("detection.parquet", "what follows from the scores: a row per detector and condition, with intervals"),
    COMPARISON,
    RunFile(
        SUMMARY,
        "headline numbers with 95% intervals, over patients where there are patients, images by class, and the "
        "quality of the classifier as a whole and class by class (accuracy, balanced accuracy, AUROC, sensitivity, "
        "specificity, calibration error, prevalence)",
    ),
    RunFile(
        FINDINGS,
        "what the run shows: a sentence each, with its question, verdict, number, control, a value an image each, the "
        "image that shows it, and details",
    ),
    RunFile(f"{EFFECT_MAPS_FOLDER}/*.png", "pictures of a few images in each condition", restart=RESUMED),
    RunFile(".hydra/*.yaml", "the configuration and the overrides of the job"),
    RunFile(CHUNKS_FOLDER, "finished rows of a run that is not completed", digested=False, restart=RESUMED),
    RunFile(
        "csv/*",
        "of `logger=csv`, the default: metrics.csv, a row per step with curves of fits and headline numbers, and "
        "hparams.yaml, the configuration",
        digested=False,
        restart=STAYS,
    ),
    RunFile(
        "wandb/run_id.txt",
        "with `logger=wandb`, until the run is completed: the run in W&B, which goes on with it",
        digested=False,
        restart=STAYS,
    ),
    RunFile("run.log", "the log", digested=False, restart=STAYS),
    RunFile(LOCK, "held while the run is written", digested=False, restart=STAYS),
)


def require_no_links(folder: Path) -> None:
    """Raise if a run directory, or any entry of it, is a link to elsewhere, where it would be written and removed.

    Links within the directory, as W&B makes them, stay.

    Raises:
        ValueError: names the link.
    """
    entries = (Path(root, name) for root, folders, names in os.walk(folder) for name in (*folders, *names))
    for path in (folder, *entries):
        if path.is_symlink() and (path == folder or not path.resolve().is_relative_to(folder.resolve())):
            raise ValueError(
                f"a run directory must hold its files itself, got {path}, a link to {os.readlink(path)}. "
                "Take the link away, or choose another folder (output_root=...)."
            )


def remove_remains(folder: Path, afresh: bool) -> None:
    """Remove remains of an earlier start except finished chunks and their pictures; `afresh`, these too."""
    resumes = not afresh and (folder / CHUNKS_FOLDER).exists()
    for file in RUN_FILES:
        if file.restart == REMOVED or (file.restart == RESUMED and not resumes):
            for path in file.find(folder):
                path.unlink() if path.is_file() else shutil.rmtree(path)
                with suppress(OSError):  # which is not empty, or the run directory itself
                    path.parent.rmdir()


def digested_files(folder: Path) -> dict[str, Path]:
    """Files of a run that have digests, by path in its directory."""
    paths = sorted(path for file in RUN_FILES if file.digested for path in file.find(folder) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each digested file, as recorded in run.json."""
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in digested_files(folder).items()
    }


def digest_differences(folder: Path, record: Mapping[str, Any], digest: Callable[[Path], str] = sha256) -> list[str]:
    """Differences of a completed run's files from the digests in its run.json; empty if none.

    The SHA-256 is asked of `digest` for files of the recorded size only.
    """
    recorded, paths, unlike = record.get(DIGESTS), digested_files(folder), []
    if not recorded:
        return ["run.json records no digests of the tables"]
    for name in sorted({*recorded, *paths}):
        if name not in paths:
            unlike.append(f"{name} is missing")
        elif name not in recorded:
            unlike.append(f"{name} is none of the files that the run has recorded")
        elif (size := paths[name].stat().st_size) != recorded[name]["bytes"]:
            unlike.append(f"{name} has {size:,} of {recorded[name]['bytes']:,} bytes")
        elif digest(paths[name]) != recorded[name]["sha256"]:
            unlike.append(f"{name} has other content")
    return unlike
