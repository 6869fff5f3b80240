"""Match of an intervention's units with the objects of images, by effect and by activity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dovision.functional.intervals import LEVEL
from dovision.results.map_tables import read_box_table
from dovision.results.object_effects import TRUE, mean_object_effects, object_rows
from dovision.results.tables import (
    CLEAN,
    EFFECTS,
    has_all_rows,
    read_groups,
    row_groups,
)
from dovision.types import FRAME, MATCHED_CONTROL, OUTSIDE, SET_JOIN, Box, object_kind


def first_half(folder: Path) -> pd.Series[bool]:
    """Return whether a sample belongs to the random half of patients used to choose units, by sample."""
    groups = read_groups(folder)
    order = np.random.default_rng(0).permutation(np.sort(groups.unique()))
    return groups.isin(order[: len(order) // 2]).sort_index()


def effects_over_objects(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Mean clean effect of the unit that covers most of each object's box.

    Returns:
        As `object_effects.object_effects`, by condition, kind and class, with log_odds_beyond, that beyond the mean of
        the image's units that touch no object; no row where no object is known, where units have no place in the image,
        or where they are objects, or where not all classes have rows.
    """
    rows = units_over_objects(folder)
    if rows.empty:
        return pd.DataFrame(columns=TRUE)
    beyond = rows.assign(log_odds_effect=rows["log_odds_effect"] - rows["elsewhere"])
    columns = {f"log_odds{end}": f"log_odds_beyond{end}" for end in ("", "_low", "_high", "_reason")}
    of_beyond = mean_object_effects(beyond, level).rename(columns=columns)[[*columns.values()]]
    return pd.concat([mean_object_effects(rows, level), of_beyond], axis=1)


def units_over_objects(folder: Path, condition: str = CLEAN) -> pd.DataFrame:
    """Effects of the unit that covers most of each object's box: the rows behind `effects_over_objects`.

    With `elsewhere`, the mean log-odds effect of the units of the image that touch no object.
    """
    columns = ["sample", "condition", "unit", "class", "effect", "log_odds_effect", *Box._fields]
    boxes = read_box_table(folder)
    if boxes.empty or not has_all_rows(folder) or len(object_rows(folder)):
        return pd.DataFrame(columns=columns)
    rows = pd.concat([_over(table.to_pandas(), boxes, condition) for table in row_groups(folder / EFFECTS, columns)])
    rows = rows.assign(kind=rows["object"].map(object_kind), group=rows["sample"].map(read_groups(folder)))
    spoken = rows["label"].dropna().unique()
    return rows[rows["class"].isin(spoken) & (rows["label"].isna() | (rows["label"] == rows["class"]))]


def _over(effects: pd.DataFrame, boxes: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Effects in a condition, by object, of the unit that covers most of its box, and of those that touch none."""
    rows = effects[effects["condition"] == condition].dropna(subset=["top"])
    rows = rows.astype({"condition": str, "unit": str, "class": str})
    rows = rows[single_units(rows["unit"])]
    both = rows.merge(boxes[["sample", "object", "label", *Box._fields]], on="sample", suffixes=("", "_object"))
    sides = [
        np.minimum(both[end], both[f"{end}_object"]) - np.maximum(both[start], both[f"{start}_object"])
        for start, end in (("top", "bottom"), ("left", "right"))
    ]
    both = both.assign(covered=sides[0].clip(lower=0) * sides[1].clip(lower=0))
    covered = both.groupby(["sample", "unit", "class"], as_index=False)[["covered", "log_odds_effect"]].max()
    free = covered[covered["covered"] == 0].groupby(["sample", "class"])["log_odds_effect"].mean().rename("elsewhere")
    both = both[both["covered"] > 0].sort_values("covered", ascending=False, kind="stable")
    return both.drop_duplicates(["sample", "object", "class"]).join(free, on=["sample", "class"])


def single_units(names: pd.Series[str]) -> pd.Series[bool]:
    """Return whether a unit is none of a frame, a matched control, a set, and what is outside of all masks."""
    joined = names.str.contains(MATCHED_CONTROL, regex=False) | names.str.contains(SET_JOIN, regex=False)
    return ~(joined | names.str.endswith(FRAME) | (names == OUTSIDE))
