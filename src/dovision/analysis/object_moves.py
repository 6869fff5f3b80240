"""The change of the true effects of parts by an attack: the same part of the same image, clean and attacked."""

from __future__ import annotations

import pandas as pd

from dovision.functional.intervals import interval_columns, mean_interval
from dovision.store.tables import CLEAN

CAUSE, TAG = "cause", "tag"  # parts that speak for the class; the kind of part that is only correlated with it
PART = ["sample", "class", "part"]
MOVES = ["arm", "class", "kind", "parts", "clusters"]
MOVES += [f"{name}{end}" for name in ("change", "size") for end in ("", "_low", "_high", "_reason")]


def relevant(rows: pd.DataFrame) -> pd.DataFrame:
    """Of `true_effects` the rows of classes for which parts speak: on its class for such a part, on each for others."""
    spoken = rows["label"].dropna().unique()
    own = (rows["label"] == rows["class"]) | rows["label"].isna()
    return rows[own & rows["class"].isin(spoken)]


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per (sample, arm, class) that has both: the mean effect of its causes, and that of its tag, in log-odds.

    Args:
        rows: from `relevant`.

    Returns:
        sample, arm, class, cause, tag.
    """
    means = {}
    for name, chosen in ((CAUSE, rows["label"].notna()), (TAG, rows["kind"] == TAG)):
        means[name] = rows[chosen].groupby(["sample", "arm", "class"], sort=False)["log_odds_effect"].mean()
    return pd.DataFrame(means).dropna().reset_index()


def moves(rows: pd.DataFrame) -> pd.DataFrame:
    """The change of the effects of each kind of part by each attack, in log-odds: attacked minus clean.

    Args:
        rows: from `relevant`.

    Returns:
        arm, class, kind (causes first, then the tag), parts, clusters; change, the mean difference, and size, the mean
        of its absolute value, each with _low, _high and _reason.
    """
    clean = rows.loc[rows["arm"] == CLEAN, [*PART, "log_odds_effect"]]
    both = rows[rows["arm"] != CLEAN].merge(clean, on=PART, suffixes=("", "_clean"))
    both["change"] = both["log_odds_effect"] - both["log_odds_effect_clean"]
    both["rank"] = both["label"].isna() + (both["label"].isna() & (both["kind"] != TAG)).astype(int)
    both = both.sort_values("rank", kind="stable")
    found = []
    for key, own in both.groupby(["arm", "class", "kind"], sort=False):
        change, groups = own["change"].to_numpy(float), own["group"].to_numpy()
        row = {**dict(zip(MOVES, key, strict=False)), "parts": len(own), "clusters": own["group"].nunique()}
        for name, values in (("change", change), ("size", abs(change))):
            row |= interval_columns(name, mean_interval(values, groups))
        found.append(row)
    return pd.DataFrame(found, columns=MOVES)
