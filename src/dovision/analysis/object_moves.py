"""The change of the true effects of objects by an attack: the same object of the same image, clean and attacked."""

from __future__ import annotations

import pandas as pd

from dovision.functional.intervals import interval_columns, mean_interval
from dovision.store.tables import CLEAN

CAUSE, TAG = "cause", "tag"  # objects that speak for the class; the kind of object that is only correlated with it
OBJECT = ["sample", "class", "object"]
MOVES = ["condition", "class", "kind", "objects", "clusters"]
MOVES += [f"{name}{end}" for name in ("change", "size") for end in ("", "_low", "_high", "_reason")]


def relevant(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `true_effects` on classes for which objects speak: on its own class for these, on each for others."""
    spoken = rows["label"].dropna().unique()
    own = (rows["label"] == rows["class"]) | rows["label"].isna()
    return rows[own & rows["class"].isin(spoken)]


def pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per (sample, condition, class) that has both: mean effect of its causes and of its tag, in log-odds.

    Args:
        rows: from `relevant`.

    Returns:
        sample, condition, class, cause, tag.
    """
    means = {}
    for name, chosen in ((CAUSE, rows["label"].notna()), (TAG, rows["kind"] == TAG)):
        means[name] = rows[chosen].groupby(["sample", "condition", "class"], sort=False)["log_odds_effect"].mean()
    return pd.DataFrame(means).dropna().reset_index()


def moves(rows: pd.DataFrame) -> pd.DataFrame:
    """The change of the effects of each kind of object by each attack, in log-odds: attacked minus clean.

    Args:
        rows: from `relevant`.

    Returns:
        condition, class, kind (causes first, then the tag), objects, clusters; change, the mean difference, and size,
        the mean of its absolute value, each with _low, _high and _reason.
    """
    clean = rows.loc[rows["condition"] == CLEAN, [*OBJECT, "log_odds_effect"]]
    both = rows[rows["condition"] != CLEAN].merge(clean, on=OBJECT, suffixes=("", "_clean"))
    both["change"] = both["log_odds_effect"] - both["log_odds_effect_clean"]
    both["rank"] = both["label"].isna() + (both["label"].isna() & (both["kind"] != TAG)).astype(int)
    both = both.sort_values("rank", kind="stable")
    found = []
    for key, own in both.groupby(["condition", "class", "kind"], sort=False):
        change, groups = own["change"].to_numpy(float), own["group"].to_numpy()
        row = {**dict(zip(MOVES, key, strict=False)), "objects": len(own), "clusters": own["group"].nunique()}
        for name, values in (("change", change), ("size", abs(change))):
            row |= interval_columns(name, mean_interval(values, groups))
        found.append(row)
    return pd.DataFrame(found, columns=MOVES)
