"""The headline numbers of a run, each with its interval, from samples.parquet alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.detection import Scored, auroc
from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import FEW_IMAGES, of_images, share_of_images
from dovision.functional.intervals import BOTH_INTERVALS, Number, mean_interval, withheld
from dovision.io.text_files import write_json
from dovision.results import explanation_metrics, map_summary
from dovision.results.classifier_quality import OVERALL, classifier_quality
from dovision.results.detection_summary import DETECTION, headlines, read_detection
from dovision.results.display_names import METRIC_HEADS, display_name
from dovision.results.image_tables import MAPS_FILE, read_reference
from dovision.results.interchange_accuracy import interchange_accuracy
from dovision.results.mask_effects import mask_contrasts
from dovision.results.object_effects import contrasts, object_effects
from dovision.results.refuters import refutations
from dovision.results.schemas import METRICS, SUMMARY
from dovision.results.tables import CLEAN, read_samples, read_task
from dovision.types import Task

_SIZE = "mean_abs_expected_effect"
_NAMED = 6  # classes whose images are counted one by one in a text


def write_summary(folder: Path, to: Path | None = None) -> dict[str, Any]:
    """Write `summarise` of a run's folder as summary.json there, or into another folder, and return it."""
    summary = summarise(folder)
    write_json((to or folder) / SUMMARY, summary)
    return summary


def summarise(folder: Path) -> dict[str, Any]:
    """Summarise a run: images per class, none without labels; by condition, the number of images and
    {estimate, low, high, clusters, method, reason} of

    accuracy                  share of all images predicted rightly in the condition
    balanced_accuracy, classifier_auroc, sensitivity, specificity, calibration_error  see `classifier_quality`
    success_rate              share of attacks that succeeded, among images right before or without a label
    success_8bit              the same after rounding to 8 bits
    robust_accuracy           share of all images with a label right before and after the attack
    mean_abs_expected_effect  mean of |expected effect| over images and units; a size, with the median, least and
                              most of the images in place of an interval
    mean_expected_logit_effect  mean of the expected effect on logits over images and units, with its sign
    auroc                     of |expected effect|, all clean images against successfully attacked ones; > 0.5 if
                              attacks raise it
    auroc_paired, auroc_twins the same of the successfully attacked against themselves when clean, their twins, and of
                              these twins against all clean images

    `method` and `reason` are those of `Interval`. What has no meaning in a condition, or is of fewer than MIN_IMAGES
    images, is None, with a sentence in `notes` where that may surprise; `classes` has the quality of the classifier
    class by class, without what is not defined. Beside `conditions`, where the run has them: `maps`, the rows of
    `map_summary.scores`; `object_effects`, `contrasts`, `mask_contrasts` and `refutations`, those of the functions
    named so; `interchange`, that of `interchange_accuracy`; `detection`, those of `headlines`.
    """
    samples, task = read_samples(folder, ["probabilities"]), read_task(folder)
    clean = samples[samples["condition"] == CLEAN]
    labels = np.stack(clean["label"].tolist())
    images = (labels == 1).sum(0) if task.multilabel else np.bincount(labels[labels >= 0], minlength=len(task.classes))
    tables = {"object_effects": object_effects(folder), "contrasts": contrasts(folder)}
    tables |= {"mask_contrasts": mask_contrasts(folder), "refutations": refutations(folder)}
    tables["interchange"] = interchange_accuracy(folder)
    if (folder / MAPS_FILE).is_file():
        truth = explanation_metrics.estimates(folder), explanation_metrics.control_estimates(folder)
        frame = explanation_metrics.agreements(folder)
        tables["maps"] = map_summary.scores(frame, *truth, read_reference(folder))
    if (folder / DETECTION).is_file():
        tables["detection"] = headlines(read_detection(folder))
    return {
        "interval": BOTH_INTERVALS,
        "labels": dict(zip(task.classes, images.tolist(), strict=True)) if (labels >= 0).any() else {},
        "conditions": {
            str(name): _condition(rows, clean, task) for name, rows in samples.groupby("condition", sort=False)
        },
        **{
            name: table.astype(object).where(table.notna(), None).to_dict("records")
            for name, table in tables.items()
            if len(table)
        },
    }


def label_counts(labels: Mapping[str, int]) -> str:
    """Number of images per class, as text; for many classes the smallest and the largest."""
    if len(labels) <= _NAMED:
        return ", ".join(f"{name} {count:,}" for name, count in labels.items())
    least, most = min(labels.values()), max(labels.values())
    return f"{len(labels):,} classes, {least:,}{f' to {most:,}' if most > least else ''} images each"


def condition_numbers(folder: Path) -> dict[str, dict[str, Number]]:
    """Numbers of each condition of a run, as in `summarise`, but for the quality of the classifier."""
    samples = read_samples(folder)
    clean = samples[samples["condition"] == CLEAN]
    return {str(name): _numbers(rows, clean) for name, rows in samples.groupby("condition", sort=False)}


def _numbers(rows: pd.DataFrame, clean: pd.DataFrame) -> dict[str, Number]:
    success, groups, correct = (
        rows["success"].to_numpy(float),
        rows["group"].to_numpy(),
        rows["correct"].to_numpy(float),
    )
    attacked = rows["condition"].iloc[0] != CLEAN
    held = (success == 0).astype(float) if attacked else np.full(len(rows), np.nan)
    shares = {
        "accuracy": correct,
        "success_rate": success,
        "success_8bit": rows["success_8bit"].to_numpy(float),
        "robust_accuracy": np.where(np.isnan(correct), np.nan, held),
    }
    intervals = {name: share_of_images(hits, groups) for name, hits in shares.items()}
    for name, resolution in ((_SIZE, RESOLUTION), ("mean_expected_logit_effect", 0.0)):
        interval = mean_interval(rows[name].to_numpy(float), groups, resolution)
        intervals[name] = of_images(interval.bare() if name == _SIZE else interval, rows[name].count())
    beaten, everyone = _scored(rows[success == 1]), _scored(clean)
    twins = _scored(clean[clean["sample"].isin(rows.loc[success == 1, "sample"])])
    pairs = {"auroc": (beaten, everyone), "auroc_paired": (beaten, twins), "auroc_twins": (twins, everyone)}
    for name, pair in pairs.items():
        intervals[name] = of_images(auroc(*pair), *(len(side.score) for side in pair))
    return intervals


def _condition(rows: pd.DataFrame, clean: pd.DataFrame, task: Task) -> dict[str, Any]:
    condition, intervals = rows["condition"].iloc[0], _numbers(rows, clean)
    attacked, groups = condition != CLEAN, rows["group"].to_numpy()
    sizes = rows[_SIZE].dropna().astype(float)
    spread = {"median": sizes.median(), "least": sizes.min(), "most": sizes.max()} if len(sizes) else {}
    label, prediction, probability = (np.stack(rows[n].tolist()) for n in ("label", "prediction", "probabilities"))
    quality = classifier_quality(label, prediction, probability, groups, task)
    intervals |= {name: quality.overall.get(name, withheld(np.nan, 0, "")) for name in OVERALL.values()}
    notes = [] if attacked else list(quality.notes)  # they are true of all conditions
    few = [METRIC_HEADS[name].partition(",")[0] for name in METRICS if intervals[name].reason == FEW_IMAGES]
    if few:
        notes.append(f"{display_name(condition)}, no {', '.join(few)}: {FEW_IMAGES}.")
    if attacked and not (rows["success"] == 1).any():
        notes.append(f"No attack in the condition {display_name(condition)} succeeded, so there is no AUROC.")
    return {
        "eps": float(rows["eps"].iloc[0]),
        "images": len(rows),
        **{
            name: None if np.isnan(interval.value) else interval.to_dict() | (spread if name == _SIZE else {})
            for name, interval in intervals.items()
        },
        "classes": {
            name: {key: value.to_dict() for key, value in values.items()} for name, values in quality.classes.items()
        },
        "notes": notes,
    }


def _scored(rows: pd.DataFrame) -> Scored:
    """Effect sizes as scores, those below RESOLUTION made equal."""
    with_size = rows.dropna(subset=[_SIZE])
    sizes = with_size[_SIZE].to_numpy(float)
    return Scored(np.where(sizes < RESOLUTION, 0.0, sizes), with_size["group"].to_numpy())
