"""Refuters: whether the headline effects of a run hold where they should, and vanish where they should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.estimates import of_images
from dovision.functional.intervals import Interval, mean_interval
from dovision.store.refuter_table import (
    ALTERED,
    FRAME_ONLY,
    HALF_DOSE,
    HALF_OF_IMAGES,
    PERMUTED_LABELS,
    PLACEBO,
    RANDOM_WEIGHTS,
    REFUTERS_FILE,
    UNALTERED,
)

VANISHES = (PLACEBO, FRAME_ONLY, RANDOM_WEIGHTS, PERMUTED_LABELS)  # the effect must be larger than under these
_HEADLINE = ["headline", "subject", "class"]
REFUTATIONS = [*_HEADLINE, "refuter", "estimate", "low", "high", "reason", "passed", "clusters", "images"]
NOT_SHOWN = "the headline is not shown to differ from 0"
_PAIR = ["sample", "unit"]


def refutations(folder: Path) -> pd.DataFrame:
    """Verdict of each refuter on each headline effect of a run, in log-odds, in the direction of the headline.

    Intervals are of the level at which those of the headline hold, the largest of several.
    The direction is the sign of the mean effect as it is, which is 1 or -1 only if the whole interval is on that side
    of 0; if not, nothing is refuted (NOT_SHOWN). A refuter passes if

    placebo region, frame only, random weights, permuted labels: the effect minus that of the refuter, paired, lies on
        the headline's side of 0 with its whole interval;
    unseen fill, half of the images (drawn by group): the effect does;
    half dose: the effect does, and is not shown to be larger than that of the whole dose.

    Returns:
        headline, subject, class, refuter; estimate (of what the rule is about; half dose: of the effect), low, high,
        reason (why there is no interval); passed (None: not decided); clusters, images. Empty without refuters.parquet.
    """
    if not (folder / REFUTERS_FILE).is_file():
        return pd.DataFrame(columns=REFUTATIONS)
    frame = REFUTERS_FILE.read(folder)
    rows = [row for key, of_headline in frame.groupby(_HEADLINE, sort=False) for row in _verdicts(key, of_headline)]
    return pd.DataFrame(rows, columns=REFUTATIONS).astype({"passed": object})


def _verdicts(key: tuple[str, ...], rows: pd.DataFrame) -> list[dict[str, Any]]:
    by_refuter = {str(name): of_refuter for name, of_refuter in rows.groupby("refuter", sort=False)}
    as_is = by_refuter[UNALTERED]
    level = float(as_is["level"].iloc[0])
    whole = _interval(as_is, level)
    sign = int(whole.low > 0) - int(whole.high < 0)
    verdicts = [_row(key, UNALTERED, whole, as_is, None if whole.reason else sign != 0)]
    for name in (*ALTERED, HALF_OF_IMAGES):
        chosen = _half(as_is) if name == HALF_OF_IMAGES else by_refuter.get(name)
        if chosen is None or chosen.empty:
            continue
        paired = as_is.merge(chosen[[*_PAIR, "log_odds_effect"]], on=_PAIR, suffixes=("", "_other"))
        difference = paired.assign(log_odds_effect=paired["log_odds_effect"] - paired.pop("log_odds_effect_other"))
        judged = difference if name in VANISHES else chosen
        interval = _interval(judged, level)
        passed = _beyond(interval, sign)
        if name == HALF_DOSE and passed:
            passed = not _beyond(_interval(difference, level), -sign)
        undecided = bool(interval.reason) and interval.estimate != 0  # of 0 in each image there is no interval
        row = _row(key, name, interval, judged, None if undecided or not sign else passed)
        verdicts.append(row if sign or undecided else row | {"reason": NOT_SHOWN})
    return verdicts


def _beyond(interval: Interval, sign: int) -> bool:
    """Return whether the whole interval lies on a side of 0."""
    return interval.low > 0 if sign > 0 else interval.high < 0


def _interval(rows: pd.DataFrame, level: float) -> Interval:
    interval = mean_interval(rows["log_odds_effect"].to_numpy(float), rows["group"].to_numpy(), level=level)
    return of_images(interval, rows["sample"].nunique())


def _half(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a random half of the groups."""
    order = np.random.default_rng(0).permutation(np.sort(rows["group"].unique()))
    return rows[rows["group"].isin(order[: (len(order) + 1) // 2])]


def _row(
    key: tuple[str, ...], refuter: str, interval: Interval, rows: pd.DataFrame, passed: bool | None
) -> dict[str, Any]:
    counts = {"clusters": interval.clusters, "images": rows["sample"].nunique()}
    numbers = {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "reason": interval.reason}
    return {**dict(zip(_HEADLINE, key, strict=True)), "refuter": refuter, **numbers, "passed": passed, **counts}
