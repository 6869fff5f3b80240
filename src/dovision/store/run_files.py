"""All files of a run directory, and the digests by which those that are read are known to be as the run has left them.

A digest is recorded when the run is completed, and compared whenever the file is to be relied on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dovision.io.files import sha256
from dovision.store.activity import ACTIVITY
from dovision.store.detection_tables import ADAPTIVE_STEPS, ATTACKS, COMPARISON, READS, SCORES
from dovision.store.effect_sums import SUMS
from dovision.store.map_tables import BOXES_FILE, MAPS_FILE
from dovision.store.schemas import DIGESTS, SUMMARY
from dovision.store.shards import SHARDS_FOLDER
from dovision.store.tables import EFFECTS, SAMPLES
from dovision.store.thumbnails import EFFECT_MAPS_FOLDER
from dovision.store.unit_masks import MASKS_FILE, OBJECT_MASKS_FILE
from dovision.types import ATTACKED_FOLDER

RUN = "run.json"
LOCK = ".run.lock"
REMOVED, RESUMED, STAYS = "measured again", "resumed", "continued"  # a file of an unfinished run, by a new start


class RunFile(NamedTuple):
    """A file of a run directory, or several that are named alike."""

    path: str  # in the run directory, with * for names
    meaning: str
    code: tuple[str, str, str]  # what in dovision declares its columns or keys, writes and reads it; empty: nothing
    digested: bool = True  # once the run is completed
    restart: str = REMOVED

    def find(self, folder: Path) -> list[Path]:
        """Its paths in a run directory."""
        return sorted(folder.glob(self.path))


RUN_FILES = (  # run.json first, so that what is left of the others is never taken for a whole run
    RunFile(
        RUN,
        "state, overrides, seed, versions, commit, wall time, peak memory, forward passes, checkpoints, data, images "
        "measured, and the digests of other files",
        (
            "store.schemas.RunRecord",
            "store.run_directory.RunDirectory.record",
            "store.run_directory.RunDirectory.facts",
        ),
        digested=False,
    ),
    RunFile(
        SAMPLES,
        "a row per image and condition: label, prediction, all probabilities and logits, entropy, margin, success of "
        "the attack",
        ("store.tables.samples_schema", "store.shards.Shards", "store.tables.read_samples"),
    ),
    RunFile(
        EFFECTS,
        "a row per image, condition, unit and class: control, treated, effect, log-odds effect, expected effect, the "
        "same of logits (change of the logits weighted by P(y given x)), and the divergence by class",
        ("store.tables.effects_schema", "store.shards.Shards", "store.tables.read_effects"),
    ),
    RunFile(
        SUMS,
        "unless `evaluation.keep=all`: a row per group (patient or image), condition, unit and class, with the sums of "
        "the effects over its images, on the probability and in log-odds, of which averages and intervals are made",
        ("store.effect_sums.sums_schema", "store.shards.Shards", "store.effect_sums.sum_rows"),
    ),
    RunFile(
        ACTIVITY,
        "with a dictionary of latents as the code: a row per image and latent that is active on it, with its map",
        ("store.activity.activity_schema", "store.shards.Shards", "store.activity.read_activity"),
    ),
    RunFile(
        MAPS_FILE,
        "with explainers: a row per map, on one grid of cells, and how it was judged",
        ("store.map_tables.maps_schema", "store.shards.Shards", "store.map_tables.read_maps"),
    ),
    RunFile(
        BOXES_FILE,
        "a row per object of the images that has a box",
        ("store.map_tables.boxes_schema", "store.map_tables.write_boxes", "store.map_tables.read_box_table"),
    ),
    RunFile(
        MASKS_FILE,
        "where units touch a part of their box alone: a row per unit of the images of which a picture is saved",
        ("store.unit_masks.masks_schema", "store.unit_masks.write_masks", "store.unit_masks.read_masks"),
    ),
    RunFile(
        OBJECT_MASKS_FILE,
        "where the dataset has masks: a row per object of the images that maps are drawn of, or else of those pictured",
        (
            "store.unit_masks.object_masks_schema",
            "store.unit_masks.write_object_masks",
            "store.unit_masks.read_object_masks",
        ),
    ),
    RunFile(
        ATTACKS,
        "with detectors: a row per attacked image: success, also at 8 bits, and norms",
        (
            "store.detection_tables.attacks_schema",
            "store.shards.Shards",
            "store.detection_tables.attack_rates",
        ),
    ),
    RunFile(
        f"{READS}/*.parquet",
        "what a detector read of each image in each condition",
        ("store.detection_tables.reads_schema", "store.shards.Shards", "store.detection_tables.read_reads"),
    ),
    RunFile(
        SCORES,
        "the score of each detector, as it was fitted, of each image in each condition",
        (
            "store.detection_tables.scores_schema",
            "evaluation.detector_fits.write_scores",
            "store.detection_tables.read_scores",
        ),
    ),
    RunFile(
        ADAPTIVE_STEPS,
        "with `detection.adaptive`: the step at which the attacker who knows a detector evades it, a row per image, "
        "epsilon, detector and direction",
        (
            "store.detection_tables.adaptive_schema",
            "evaluation.callbacks.run_detection",
            "store.detection_tables.read_adaptive",
        ),
    ),
    RunFile(
        "detection.parquet",
        "what follows from the scores: a row per detector and condition, with intervals",
        ("", "analysis.detection_summary.write_detection", "analysis.detection_summary.read_detection"),
    ),
    RunFile(
        COMPARISON,
        "with `detection.reference`: AUROC and TPR of each detector minus the reference's on the same images, paired",
        (
            "",
            "analysis.detector_comparison.write_comparison",
            "analysis.detector_comparison.read_comparison",
        ),
    ),
    RunFile(
        SUMMARY,
        "headline numbers with 95% intervals, over patients where there are patients, images by class, and the "
        "quality of the classifier as a whole and class by class (accuracy, balanced accuracy, AUROC, sensitivity, "
        "specificity, calibration error, prevalence)",
        ("store.schemas.Summary", "analysis.summary.write_summary", "store.schemas.read_summary"),
    ),
    RunFile(
        f"{EFFECT_MAPS_FOLDER}/*.png",
        "pictures of a few images in each condition",
        ("", "store.thumbnails.save_image", "store.thumbnails.load_thumbnail"),
        restart=RESUMED,
    ),
    RunFile(
        f"{ATTACKED_FOLDER}/*/*",
        "all attacked images, with `evaluation.store_adversarial=true`, to be shown again by `attack=replay`",
        ("", "store.adversarial_cache.Keeper", "attacks.replay.Replay"),
    ),
    RunFile(
        ".hydra/*.yaml",
        "the configuration and the overrides of the job",
        ("config.settings.EvaluateSettings", "store.run_directory.RunDirectory.start", "store.run_record.read_run"),
    ),
    RunFile(
        SHARDS_FOLDER,
        "finished rows of a run that is not completed",
        ("store.shards.Shards", "store.shards.Shards", "store.shards.Shards.finished"),
        digested=False,
        restart=RESUMED,
    ),
    RunFile(
        "csv/*",
        "of `logger=csv`, the default: metrics.csv, a row per step with curves of fits and headline numbers, and "
        "hparams.yaml, the configuration",
        ("", "tracking.csv_logger.CSVLogger", ""),
        False,
        STAYS,
    ),
    RunFile(
        "*/run_id.txt",
        "with `logger=wandb` or `mlflow`, until the run is completed: the run in the dashboard, which goes on with it",
        ("", "tracking.open_run.OpenRun", ""),
        False,
        STAYS,
    ),
    RunFile("run.log", "the log", ("", "cli.session.log_file", ""), False, STAYS),
    RunFile(LOCK, "held while the run is written", ("", "io.locking.Lock", "io.locking.is_locked"), False, STAYS),
)


def remove_remains(folder: Path, afresh: bool) -> None:
    """Remove what a start finds of an earlier one, but for finished shards and their pictures; `afresh`, these too."""
    resumes = not afresh and (folder / SHARDS_FOLDER).exists()
    for file in RUN_FILES:
        if file.restart == REMOVED or (file.restart == RESUMED and not resumes):
            for path in file.find(folder):
                path.unlink() if path.is_file() else shutil.rmtree(path)
                with suppress(OSError):  # which is not empty, or the run directory itself
                    path.parent.rmdir()


def digested_files(folder: Path) -> dict[str, Path]:
    """The files of a run that have a digest, by their path in its directory."""
    found = sorted(path for file in RUN_FILES if file.digested for path in file.find(folder) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each of these files, as they are recorded in run.json."""
    return {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for name, path in digested_files(folder).items()
    }


def digest_differences(folder: Path, facts: Mapping[str, Any], digest: Callable[[Path], str] = sha256) -> list[str]:
    """Files of a completed run that are not those that its run.json records, and in what way; empty if all are.

    The SHA-256 is asked of `digest` for files of the recorded size only.
    """
    recorded, found, unlike = facts.get(DIGESTS), digested_files(folder), []
    if not recorded:
        return ["run.json records no digests of the tables"]
    for name in sorted({*recorded, *found}):
        if name not in found:
            unlike.append(f"{name} is missing")
        elif name not in recorded:
            unlike.append(f"{name} is none of the files that the run has recorded")
        elif (size := found[name].stat().st_size) != recorded[name]["bytes"]:
            unlike.append(f"{name} has {size:,} of {recorded[name]['bytes']:,} bytes")
        elif digest(found[name]) != recorded[name]["sha256"]:
            unlike.append(f"{name} has other content")
    return unlike
