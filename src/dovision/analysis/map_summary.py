"""Mean scores of each explainer, and its comparison with the one that is the field's reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.analysis.explanation_metrics import MAP_METRICS, agreements
from dovision.functional.agreement import OK
from dovision.functional.intervals import (
    benjamini_hochberg,
    holm,
    interval_columns,
    mean_interval,
    mean_p_value,
    share_interval,
)

REFERENCE = "grad_cam"  # what the others are compared with; the first explainer where there is none of this name
ALL, CORRECT = "all", "correct"  # cases: every (image, class), or those in which the classifier was right
_PAIR = ["sample", "class"]
_SHARES = ("pointing",)  # metrics that are hit or miss
COLUMNS = [
    "explainer",
    "metric",
    "cases",
    "label",
    "mean",
    "low",
    "high",
    "reason",
    "clusters",
    "scored",
    "maps",
    "flagged",
]
COLUMNS += ["difference", "difference_low", "difference_high", "difference_reason", "pairs", "p"]


def scores(frame: pd.DataFrame) -> pd.DataFrame:
    """The mean of each metric for each explainer, over all classes together.

    Args:
        frame: from `agreements`.

    Returns:
        A row per explainer, metric and cases ("all" or "correct"), with label "all": mean, low, high, clusters;
        scored (maps with a number), maps, flagged (zero or not finite); difference, difference_low, difference_high
        and pairs: the mean over the same (sample, class) of the score minus that of the reference; p, two-sided, and
        p_holm, adjusted over all rows; reason, difference_reason: why there is no interval.
    """
    table = _table(frame.assign(label=ALL))
    return table.assign(p_holm=holm(table["p"].to_numpy(float)))


def label_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """The same for each class by itself, with p_holm and p_bh, adjusted over the explainers and classes of a metric.

    Args:
        frame: from `agreements`.
    """
    table = _table(frame.assign(label=frame["class"]))
    p = table.groupby(["metric", "cases"])["p"]
    return table.assign(
        p_holm=p.transform(lambda each: holm(each.to_numpy(float))),
        p_bh=p.transform(lambda each: benjamini_hochberg(each.to_numpy(float))),
    )


def reference(explainers: pd.Series[str]) -> str:
    """The explainer that the others are compared with."""
    names = list(dict.fromkeys(explainers))
    return REFERENCE if REFERENCE in names else names[0]


def map_scores(folder: Path) -> pd.DataFrame:
    """`scores` of a run."""
    return scores(agreements(folder))


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(list(_rows(frame)), columns=COLUMNS)


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    compared = reference(frame["explainer"])
    for cases, chosen in ((ALL, frame), (CORRECT, frame[frame["correct"]])):
        for label, of_label in chosen.groupby("label", sort=False):
            against = of_label.loc[of_label["explainer"] == compared, [*_PAIR, *MAP_METRICS]]
            for explainer, own in of_label.groupby("explainer", sort=False):
                both = own.merge(against, on=_PAIR, suffixes=("", "_reference"), how="left")
                for metric in MAP_METRICS:
                    key = {"explainer": explainer, "metric": metric, "cases": cases, "label": label}
                    yield key | _score(both, metric) | _difference(both, metric, explainer == compared)


def _score(rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    values = rows[metric].to_numpy(float)
    interval = (share_interval if metric in _SHARES else mean_interval)(values, rows["group"].to_numpy())
    ends = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "reason": interval.reason}
    counts = {"scored": int(np.isfinite(values).sum()), "maps": len(rows), "flagged": int((rows["state"] != OK).sum())}
    return ends | {"clusters": interval.clusters} | counts


def _difference(rows: pd.DataFrame, metric: str, itself: bool) -> dict[str, Any]:
    if itself:
        return {"pairs": 0}
    values = (rows[metric] - rows[f"{metric}_reference"]).to_numpy(float)
    groups = rows["group"].to_numpy()
    columns = interval_columns("difference", mean_interval(values, groups))
    return columns | {"pairs": int(np.isfinite(values).sum()), "p": mean_p_value(values, groups)}
