"""Refuters: whether the headline effects of a run hold where they should, and vanish where they should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from dovision.functional.estimates import of_images
from dovision.functional.intervals import Number, mean_interval
from dovision.results.image_tables import ALTERED, PLACEBO, RANDOM_WEIGHTS, REFUTERS_FILE, UNALTERED

_HEADLINE = ["headline", "subject", "class"]
REFUTATIONS = [*_HEADLINE, "refuter", "estimate", "low", "high", "share", "reason", "passed", "clusters", "images"]
NOT_SHOWN = "the headline is not shown to differ from 0"
SANITY_CHECK = "a sanity check that does not count: random weights make all effects small"
_PAIR = ["sample", "unit"]
_EFFECT = "log_odds_effect"


def refutations(folder: Path) -> pd.DataFrame:
    """Verdict of each refuter on each headline effect of a run, in log-odds, in the direction of the headline.

    The headline is the number of its finding: controls are subtracted where the finding does so. Intervals are of the
    level at which those of the headline hold, the largest of several.
    The direction is the sign of the mean effect as it is, which is 1 or -1 only if the whole interval is on that side
    of 0; if not, nothing is refuted (NOT_SHOWN). A refuter passes if

    placebo region: the effect is shown to be more than twice as large: minus, and plus, twice that with the refuter,
        paired, it lies on the headline's side of 0 with its whole interval;
    unseen fill: the effect does.

    Random weights decide nothing (SANITY_CHECK).

    Returns:
        headline, subject, class, refuter; estimate of the effect with the refuter, low, high; share, the estimate as a
        share of the headline's; reason (why there is no interval, or no verdict); passed (None: not decided);
        clusters, images. Empty without refuters.parquet.
    """
    if not (folder / REFUTERS_FILE).is_file():
        return pd.DataFrame(columns=REFUTATIONS)
    frame = REFUTERS_FILE.read(folder)
    rows = [row for _, of_headline in frame.groupby(_HEADLINE, sort=False) for row in _verdicts(of_headline)]
    return pd.DataFrame(rows, columns=REFUTATIONS).astype({"passed": object})


def _verdicts(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    by_refuter = {str(name): of_refuter for name, of_refuter in rows.groupby("refuter", sort=False)}
    as_is = by_refuter[UNALTERED]
    level = float(as_is["level"].iloc[0])
    whole = _interval(as_is, level)
    sign = whole.sign()
    yield _row(as_is, whole, None if whole.reason else sign != 0, 1.0)
    for name in (name for name in ALTERED if name in by_refuter):
        altered = by_refuter[name]
        interval = _interval(altered, level)
        if name == PLACEBO:
            both = as_is.merge(altered[[*_PAIR, _EFFECT]], on=_PAIR, suffixes=("", "_other"))
            beyond = (both.assign(**{_EFFECT: both[_EFFECT] - times * both[f"{_EFFECT}_other"]}) for times in (2, -2))
            passed = all(_interval(effects, level).sign() == sign for effects in beyond)
        else:
            passed = interval.sign() == sign
        undecided = bool(interval.reason) and interval.value != 0  # 0 in each image has no interval
        counts = sign and not undecided and name != RANDOM_WEIGHTS
        share = interval.value / whole.value if whole.value else float("nan")
        row = _row(altered, interval, passed if counts else None, share)
        if not counts and not undecided:
            row["reason"] = SANITY_CHECK if sign else NOT_SHOWN
        yield row


def _interval(rows: pd.DataFrame, level: float) -> Number:
    interval = mean_interval(rows[_EFFECT].to_numpy(float), rows["group"].to_numpy(), level=level)
    return of_images(interval, rows["sample"].nunique())


def _row(rows: pd.DataFrame, interval: Number, passed: bool | None, share: float) -> dict[str, Any]:
    key = {name: rows[name].iloc[0] for name in (*_HEADLINE, "refuter")}
    numbers = {"estimate": interval.value, "low": interval.low, "high": interval.high, "reason": interval.reason}
    return {
        **key,
        **numbers,
        "share": share,
        "passed": passed,
        "clusters": interval.n,
        "images": rows["sample"].nunique(),
    }
