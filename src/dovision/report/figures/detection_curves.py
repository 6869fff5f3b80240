"""The curves of a run that detects: frames to draw, from its scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dovision.analysis.detection_summary import worst_case
from dovision.functional.detection import Floats
from dovision.report.ecdf import ecdf
from dovision.store.detection_tables import DETECTOR, NOISE, TEST, detector_label, preferred
from dovision.store.tables import CLEAN

_SHOWN = 3  # epsilons that are drawn side by side
ATTACKED = "attacked"


def spaced(eps: pd.Series[float], most: int = _SHOWN) -> list[float]:
    """The least, the largest and those between, at most so many."""
    known = np.sort(eps[eps > 0].unique())
    places = np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))
    return [float(size) for size in known[places]]


def operating_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Of the preferred variant of each detector, successful attacks in the worst case against clean images.

    Args:
        scores: from `read_scores`.

    Returns:
        detector, eps, threshold, false (share of clean images at or above it), found (of attacked ones), precision
        (nan where none is found).
    """
    parts = []
    test = preferred(scores[scores["split"] == TEST])
    for key, own in test.groupby(DETECTOR, observed=True, sort=False):
        clean = own.loc[own["attack"] == CLEAN, "score"].to_numpy(float)
        for eps in spaced(test["eps"]):
            attacked = worst_case(own[own["eps"] == eps]).query("success == 1")["score"].to_numpy(float)
            if len(attacked):
                parts.append(_curve(attacked, clean).assign(detector=detector_label(*map(str, key)), eps=eps))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["detector", "eps"])


def distributions(scores: pd.DataFrame) -> pd.DataFrame:
    """Of the same detectors at a middle epsilon, the scores of clean images, noise and successful attacks, worst case.

    Returns:
        detector, condition ("clean", "random_sign" or "attacked"), eps, images, share (0 to 1) and value,
        the score at or below which lies that share.
    """
    test = preferred(scores[scores["split"] == TEST])
    known = spaced(test["eps"])
    eps = known[len(known) // 2] if known else np.nan
    parts = []
    for key, own in test.groupby(DETECTOR, observed=True, sort=False):
        same = own[own["eps"] == eps]
        conditions = {CLEAN: own[own["attack"] == CLEAN], NOISE: same[same["attack"] == NOISE]}
        conditions[ATTACKED] = worst_case(same).query("success == 1")
        for condition, rows in conditions.items():
            if len(rows):
                frame = ecdf(rows["score"])
                parts.append(
                    frame.assign(
                        detector=detector_label(*map(str, key)), condition=condition, eps=eps, images=len(rows)
                    )
                )
    return pd.concat(parts, ignore_index=True)


def _curve(attacked: Floats, clean: Floats, most: int = 150) -> pd.DataFrame:
    """Thresholds at ranks of both, of the clean ones most where few lie above."""
    attacked, clean = np.sort(attacked), np.sort(clean)
    top = np.unique(np.geomspace(1, len(clean), most).astype(int))
    even = np.unique(np.linspace(0, len(attacked) - 1, most).astype(int))
    thresholds = np.unique(np.concatenate([clean[-top], attacked[even]]))[::-1]
    found, false = (len(s) - np.searchsorted(s, thresholds, "left") for s in (attacked, clean))
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "false": false / len(clean),
            "found": found / len(attacked),
            "precision": np.where(found > 0, found / (found + false), np.nan),
        }
    )
