"""Headline numbers of runs: one table for the page, figures, terminal and summaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.results.display_names import MEAN_EFFECT
from dovision.results.finding import SIZE_SPREAD
from dovision.results.run_record import Run
from dovision.results.schemas import METRICS
from dovision.results.summary import label_counts
from dovision.results.tables import SAMPLES, read_table

INTERVAL_FIELDS = {"": "estimate", "_low": "low", "_high": "high", "_reason": "reason"}  # of the columns of an interval
_SHARES = {
    "accuracy": "correct",
    "robust_accuracy": "correct",
    "success_rate": "success",
    "success_8bit": "success_8bit",
}


def results_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Headline numbers by job and condition: job, condition, eps, images, labels, metrics with _low, _high, _reason."""
    rows = []
    for run in runs:
        labels = label_counts(run.summary["labels"])
        for condition, of_condition in run.summary["conditions"].items():
            counts = {"eps": of_condition["eps"], "images": of_condition["images"], "labels": labels}
            numbers = intervals_of(of_condition, METRICS)
            numbers |= {f"{MEAN_EFFECT}_{name}": (of_condition[MEAN_EFFECT] or {}).get(name) for name in SIZE_SPREAD}
            rows.append({"job": run.label, "condition": condition, **counts, **numbers})
    return pd.DataFrame(rows)


def mean_effect_rows(runs: Sequence[Run]) -> pd.DataFrame:
    """Mean |expected effect| by job and condition: job, condition, eps, images, mean, low, high, reason."""
    names = {f"{MEAN_EFFECT}{end}": end.lstrip("_") or "mean" for end in INTERVAL_FIELDS}
    return results_frame(runs)[["job", "condition", "eps", "images", *names]].rename(columns=names)


def pool_seeds(frame: pd.DataFrame, point: Sequence[str]) -> pd.DataFrame:
    """Pool points over seeds: the mean, with one standard deviation to each side as low and high.

    Args:
        frame: columns mean, low, high, reason, images, seed, and those of `point`; rows of a seed that are equal in
            these count once, as clean images do that several attacks share.
        point: the columns in which points differ.

    Returns:
        A row a point: its columns, mean, low and high (of one seed its interval), reason, sd over seeds (nan of one),
        images (the fewest), seeds.
    """
    points = frame.drop_duplicates([*point, "seed"]).groupby(list(point), sort=False, as_index=False)
    firsts: dict[str, Any] = {name: (name, "first") for name in ("low", "high", "reason")}
    spread: dict[str, Any] = {"sd": ("mean", "std"), "images": ("images", "min"), "seeds": ("seed", "size")}
    pooled = points.agg(mean=("mean", "mean"), **firsts, **spread)
    several = pooled["seeds"] > 1
    pooled["low"] = pooled["low"].mask(several, pooled["mean"] - pooled["sd"])
    pooled["high"] = pooled["high"].mask(several, pooled["mean"] + pooled["sd"])
    pooled["reason"] = pooled["reason"].mask(several, "")
    return pooled


def intervals_of(interval_by_metric: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, Any]:
    """Metrics with intervals as columns; None where unknown."""
    return {
        f"{name}{end}": (interval_by_metric.get(name) or {}).get(key)
        for name in metrics
        for end, key in INTERVAL_FIELDS.items()
    }


def counted_images(run: Run) -> Mapping[str, Mapping[str, int]]:
    """Images behind each condition's shares, by metric; "auroc" counts successfully attacked images."""
    samples = read_table(run.folder / SAMPLES, ["condition", *dict.fromkeys(_SHARES.values())]).to_pandas()
    return {
        str(condition): {metric: int(rows[column].count()) for metric, column in _SHARES.items()}
        | {"auroc": int((rows["success"] == 1).sum())}
        for condition, rows in samples.groupby("condition", sort=False, observed=True)
    }
