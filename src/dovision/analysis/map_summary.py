"""Mean scores of each explainer, and its comparison with the one that is the field's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dovision.analysis.explanation_metrics import MAP_METRICS
from dovision.functional.agreement import OK
from dovision.functional.intervals import benjamini_hochberg, holm, mean_interval, mean_p_value, share_interval

REFERENCE = "grad_cam"  # what the others are compared with; the first explainer where there is none of this name
ALL, CORRECT = "all", "correct"  # cases: every (image, class), or those in which the classifier was right
_PAIR = ["sample", "class"]
_SHARES = ("pointing",)  # metrics that are hit or miss
_DIFFERENCE = [f"difference{end}" for end in ("", "_low", "_high", "_reason")]


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
    """The same for each class by itself, with p_holm and p_bh, adjusted over the explainers and classes of a metric."""
    table = _table(frame.assign(label=frame["class"]))
    p = table.groupby(["metric", "cases"])["p"]
    return table.assign(
        p_holm=p.transform(lambda own: holm(own.to_numpy(float))),
        p_bh=p.transform(lambda own: benjamini_hochberg(own.to_numpy(float))),
    )


def reference(explainers: pd.Series[str]) -> str:
    """The explainer that the others are compared with."""
    return REFERENCE if explainers.eq(REFERENCE).any() else str(explainers.iloc[0])


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    compared = reference(frame["explainer"])
    against = frame.loc[frame["explainer"] == compared, [*_PAIR, *MAP_METRICS]]
    both = frame.merge(against, on=_PAIR, suffixes=("", "_reference"), how="left")
    rows = []
    for cases, chosen in ((ALL, both), (CORRECT, both[both["correct"]])):
        for label, of_label in chosen.groupby("label", sort=False):
            for explainer, own in of_label.groupby("explainer", sort=False):
                for metric in MAP_METRICS:
                    key = {"explainer": explainer, "metric": metric, "cases": cases, "label": label}
                    rows.append(key | _score(own, metric) | _difference(own, metric, explainer == compared))
    return pd.DataFrame(rows)


def _score(rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    values = rows[metric].to_numpy(float)
    interval = (share_interval if metric in _SHARES else mean_interval)(values, rows["group"].to_numpy())
    counts = {"scored": np.isfinite(values).sum(), "maps": len(rows), "flagged": (rows["state"] != OK).sum()}
    return {**interval.columns(), "clusters": interval.clusters, **counts}


def _difference(rows: pd.DataFrame, metric: str, itself: bool) -> dict[str, Any]:
    if itself:
        return {**dict.fromkeys(_DIFFERENCE, np.nan), "pairs": 0, "p": np.nan}
    values, groups = (rows[metric] - rows[f"{metric}_reference"]).to_numpy(float), rows["group"].to_numpy()
    counts = {"pairs": np.isfinite(values).sum(), "p": mean_p_value(values, groups)}
    return {**mean_interval(values, groups).columns("difference"), **counts}
