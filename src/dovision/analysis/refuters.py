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
    HALVES,
    PERMUTED_LABELS,
    PLACEBO,
    RANDOM_WEIGHTS,
    REFUTERS_FILE,
    UNALTERED,
)

VANISHES = (PLACEBO, FRAME_ONLY, PERMUTED_LABELS)  # the effect must be at least twice that under these
_HEADLINE = ["headline", "subject", "class"]
REFUTATIONS = [*_HEADLINE, "refuter", "estimate", "low", "high", "share", "reason", "passed", "clusters", "images"]
NOT_SHOWN = "the headline is not shown to differ from 0"
SANITY_CHECK = "a sanity check that does not count: random weights make all effects small"
_PAIR = ["sample", "unit"]


def refutations(folder: Path) -> pd.DataFrame:
    """Verdict of each refuter on each headline effect of a run, in log-odds, in the direction of the headline.

    The headline is the number of its finding: controls are subtracted where the finding does so. Intervals are of the
    level at which those of the headline hold, the largest of several.
    The direction is the sign of the mean effect as it is, which is 1 or -1 only if the whole interval is on that side
    of 0; if not, nothing is refuted (NOT_SHOWN). A refuter passes if

    placebo region, frame only, permuted labels: the effect is shown to be more than twice as large: minus, and plus,
        twice that with the refuter, paired, it lies on the headline's side of 0 with its whole interval;
    unseen fill: the effect does;
    half dose: the effect does, and is not shown to be larger than that of the whole dose;
    halves of the images (drawn by group): both means lie on the headline's side, and the interval of their difference
        contains 0.

    Random weights decide nothing (SANITY_CHECK).

    Returns:
        headline, subject, class, refuter; estimate of the effect with the refuter (of halves: of their difference),
        low, high; share, the estimate as a share of the headline's; reason (why there is no interval, or no verdict);
        passed (None: not decided); clusters, images. Empty without refuters.parquet.
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
    verdicts = [_row(key, UNALTERED, whole, as_is, None if whole.reason else sign != 0, 1.0)]
    halves, agree = _halves(as_is, sign)
    for name in (*ALTERED, HALVES):
        chosen = halves if name == HALVES else by_refuter.get(name)
        if chosen is None or chosen.empty:
            continue
        interval = _interval(chosen, level)
        undecided = bool(interval.reason) and (interval.estimate != 0 or name == HALVES)  # 0 in each image has none
        if name == HALVES:
            passed = agree and not interval.low > 0 and not interval.high < 0
        elif name in VANISHES:
            passed = all(_beyond(_interval(_minus(as_is, chosen, times), level), sign) for times in (2, -2))
        else:
            passed = _beyond(interval, sign)
            if name == HALF_DOSE and passed:
                passed = not _beyond(_interval(_minus(as_is, chosen, 1), level), -sign)
        counts = sign and not undecided and name != RANDOM_WEIGHTS
        share = interval.estimate / whole.estimate if whole.estimate else float("nan")
        row = _row(key, name, interval, chosen, passed if counts else None, share)
        if not counts and not undecided:
            row |= {"reason": NOT_SHOWN if not sign else SANITY_CHECK}
        verdicts.append(row)
    return verdicts


def _minus(rows: pd.DataFrame, others: pd.DataFrame, times: float) -> pd.DataFrame:
    """Effects minus a multiple of others, paired by image and unit."""
    paired = rows.merge(others[[*_PAIR, "log_odds_effect"]], on=_PAIR, suffixes=("", "_other"))
    return paired.assign(log_odds_effect=paired["log_odds_effect"] - times * paired["log_odds_effect_other"])


def _halves(rows: pd.DataFrame, sign: int) -> tuple[pd.DataFrame, bool]:
    """Rows whose mean is the difference of the means of two random halves of the groups; both lie on a side of 0.

    The mean of all is taken off first, so that the rows vary as much as the effects do.
    """
    order = np.random.default_rng(0).permutation(np.sort(rows["group"].unique()))
    first = rows["group"].isin(order[: (len(order) + 1) // 2])
    effects = rows["log_odds_effect"]
    weights = np.where(first, len(rows) / max(first.sum(), 1), -len(rows) / max((~first).sum(), 1))
    on_side = bool(sign * effects[first].mean() > 0 and sign * effects[~first].mean() > 0)
    return rows.assign(log_odds_effect=(effects - effects.mean()) * weights), on_side


def _beyond(interval: Interval, sign: int) -> bool:
    """Return whether the whole interval lies on a side of 0."""
    return interval.low > 0 if sign > 0 else interval.high < 0


def _interval(rows: pd.DataFrame, level: float) -> Interval:
    interval = mean_interval(rows["log_odds_effect"].to_numpy(float), rows["group"].to_numpy(), level=level)
    return of_images(interval, rows["sample"].nunique())


def _row(
    key: tuple[str, ...], refuter: str, interval: Interval, rows: pd.DataFrame, passed: bool | None, share: float
) -> dict[str, Any]:
    counts = {"clusters": interval.clusters, "images": rows["sample"].nunique()}
    numbers = {name: getattr(interval, name) for name in ("estimate", "low", "high", "reason")}
    verdict = {"refuter": refuter, **numbers, "share": share, "passed": passed}
    return {**dict(zip(_HEADLINE, key, strict=True)), **verdict, **counts}
