"""The headline numbers of a run, each with its interval, from samples.parquet alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.analysis.classifier_quality import OVERALL, Quality, classifier_quality
from dovision.analysis.detection_summary import DETECTION, headlines, read_detection
from dovision.analysis.map_summary import map_scores
from dovision.analysis.object_effects import contrasts, object_effects
from dovision.functional.detection import Scored, auroc
from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import BOTH_INTERVALS, Interval, mean_interval, share_interval
from dovision.io.text_files import write_json
from dovision.store.map_tables import MAPS_FILE
from dovision.store.schemas import SUMMARY
from dovision.store.tables import CLEAN, read_samples, read_task
from dovision.types import Task

QUALITY = ("accuracy", *OVERALL.values())  # of the classifier
METRICS = (*QUALITY, "success_rate", "success_8bit", "robust_accuracy", "mean_abs_expected_effect", "auroc")
_NAMED = 6  # classes whose images are counted one by one in a text


def write_summary(folder: Path) -> dict[str, Any]:
    """Write `summarise` of a run's folder as summary.json there, and return it."""
    summary = summarise(folder)
    write_json(folder / SUMMARY, summary)
    return summary


def summarise(folder: Path) -> dict[str, Any]:
    """Images of each class; by condition their number and {estimate, low, high, clusters, method, reason} of

    accuracy                  share of all images predicted rightly in the condition
    balanced_accuracy, classifier_auroc, sensitivity, specificity, calibration_error  see `classifier_quality`
    success_rate              share of attacks that succeeded, among images right before
    success_8bit              the same after rounding to 8 bits
    robust_accuracy           share of all images right before and after the attack
    mean_abs_expected_effect  mean of |expected effect| over images and units
    mean_expected_logit_effect  mean of the expected effect on logits over images and units, with its sign
    auroc                     of |expected effect|, all clean images against successfully attacked ones; > 0.5 if
                              attacks raise it

    `method` and `reason` are those of `Interval`. What has no meaning in a condition is None, with a sentence in
    `notes` where that may surprise; `classes` has the quality of the classifier class by class, without what is not
    defined. Beside `conditions`, where the run has them: `maps`, the rows of `map_scores`; `object_effects` and
    `contrasts`, those of the functions named so.

    Args:
        folder: the run directory.

    Raises:
        FileNotFoundError, ValueError: samples.parquet is missing, damaged or empty.
    """
    samples, task = read_samples(folder, ["probabilities"]), read_task(folder)
    clean = samples[samples["condition"] == CLEAN]
    conditions = {
        str(condition): _condition(rows, clean, task) for condition, rows in samples.groupby("condition", sort=False)
    }
    labels = {name: int(count) for name, count in zip(task.classes, _images(clean, task), strict=True)}
    return {"interval": BOTH_INTERVALS, "labels": labels, "conditions": conditions, **_sections(folder)}


def label_counts(labels: Mapping[str, int]) -> str:
    """The number of images of each class, as text; of many classes the least and the largest."""
    if len(labels) <= _NAMED:
        return ", ".join(f"{name} {count:,}" for name, count in labels.items())
    least, most = min(labels.values()), max(labels.values())
    return f"{len(labels):,} classes, {least:,}{f' to {most:,}' if most > least else ''} images each"


def _images(samples: pd.DataFrame, task: Task) -> npt.NDArray[np.int64]:
    """The number of images of each class, shape (K,)."""
    label = np.stack(samples["label"].tolist())
    return (label == 1).sum(0) if task.multilabel else np.bincount(label, minlength=len(task.classes))


def _sections(folder: Path) -> dict[str, Any]:
    tables = {"object_effects": object_effects(folder), "contrasts": contrasts(folder)}
    if (folder / MAPS_FILE).is_file():
        tables["maps"] = map_scores(folder)
    if (folder / DETECTION).is_file():
        tables["detection"] = headlines(read_detection(folder))
    return {name: _records(table) for name, table in tables.items() if len(table)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _condition(rows: pd.DataFrame, clean: pd.DataFrame, task: Task) -> dict[str, Any]:
    condition, eps = rows.iloc[0][["condition", "eps"]]
    success = rows["success"].to_numpy(float)  # nan where null
    shares = {
        "accuracy": rows["correct"].to_numpy(float),
        "success_rate": success,
        "success_8bit": rows["success_8bit"].to_numpy(float),
        "robust_accuracy": np.full(len(rows), np.nan) if condition == CLEAN else (success == 0).astype(float),
    }
    groups = rows["group"].to_numpy()
    intervals = {name: share_interval(hits, groups) for name, hits in shares.items()}
    for name, resolution in (("mean_abs_expected_effect", RESOLUTION), ("mean_expected_logit_effect", 0.0)):
        intervals[name] = mean_interval(rows[name].to_numpy(float), groups, resolution)
    found = {name: _plain(interval) for name, interval in intervals.items()}
    found["auroc"] = _detection(rows[success == 1], clean)
    silent = condition != CLEAN and found["auroc"] is None
    quality = _quality(rows, task)
    notes = [f"No attack in the condition {condition} succeeded, so there is no AUROC."] if silent else []
    notes += quality.notes if condition == CLEAN else []  # they are true of all conditions
    found |= {name: _plain(quality.overall[name]) if name in quality.overall else None for name in OVERALL.values()}
    classes = {name: {key: _plain(value) for key, value in own.items()} for name, own in quality.classes.items()}
    return {"eps": float(eps), "images": len(rows), **found, "classes": classes, "notes": notes}


def _quality(rows: pd.DataFrame, task: Task) -> Quality:
    label, prediction, probability = (
        np.stack(rows[name].tolist()) for name in ("label", "prediction", "probabilities")
    )
    return classifier_quality(label, prediction, probability, rows["group"].to_numpy(), task)


def _detection(beaten: pd.DataFrame, clean: pd.DataFrame) -> dict[str, Any] | None:
    score = "mean_abs_expected_effect"
    beaten, clean = beaten.dropna(subset=[score]), clean.dropna(subset=[score])
    if beaten.empty or clean.empty:
        return None
    attacked, others = (_scored(rows[score], rows["group"]) for rows in (beaten, clean))
    return _plain(auroc(attacked, others))


def _scored(effect: pd.Series[float], group: pd.Series[int]) -> Scored:
    """Sizes of effects as scores; those below RESOLUTION are equal."""
    sizes = effect.to_numpy(float)
    return Scored(np.where(sizes < RESOLUTION, 0.0, sizes), group.to_numpy())


def _plain(interval: Interval) -> dict[str, Any] | None:
    if np.isnan(interval.estimate):
        return None
    return {name: None if value != value else value for name, value in interval._asdict().items()}
