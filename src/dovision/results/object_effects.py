"""Effects of the objects of images: true ones, and those of painting over them, against painting elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.estimates import without_few
from dovision.functional.intervals import EFFECT_BOUNDS, LEVEL, SPREAD, holm, mean_p_value
from dovision.results.average_effect import grouped_means
from dovision.results.image_tables import SETS_FILE, read_box_table
from dovision.results.tables import EFFECTS, has_all_rows, read_groups, row_groups
from dovision.types import FRAME, MATCHED_CONTROL, OUTSIDE, SET_JOIN, object_kind

TAG = "tag"  # the kind of object that is only correlated with the class
_KEY = ["sample", "condition", "class", "object"]
_COLUMNS = [*_KEY, "group", "kind", "label", "control", "effect", "log_odds_effect"]
_CELL = ["condition", "kind", "class"]
_ENDS = ("", "_low", "_high", "_reason")
_LOG_ODDS = [f"log_odds{end}" for end in _ENDS]
TRUE = [*_CELL, "mean", "low", "high", "reason", *_LOG_ODDS, *SPREAD, "clusters", "images", "objects"]
CONTRASTS = [*_CELL, "clusters", "images", "objects", "p", "p_holm", *SPREAD]
CONTRASTS += [f"{name}{end}" for name in ("box", "control", "difference") for end in _ENDS] + _LOG_ODDS


def object_rows(folder: Path) -> pd.DataFrame:
    """Effects of objects and of their controls: of units that are objects, or of all units that touch one together.

    Returns:
        sample, group, condition, class, object, kind, label, control (it is one), effect, log_odds_effect; no rows
        where the run measured neither, knows no boxes, or has not the rows of all classes. Of units together
        also cells and covered, as in sets.parquet.
    """
    rows = unit_object_rows(folder)
    if len(rows) or not (folder / SETS_FILE).is_file() or not has_all_rows(folder):
        return rows
    sets = SETS_FILE.read(folder).rename(columns={"set": "object"})
    sets = sets.merge(read_box_table(folder)[["sample", "object", "label"]], on=["sample", "object"])
    kinds, groups = sets["object"].map(object_kind), sets["sample"].map(read_groups(folder))
    sets = sets.assign(kind=kinds, group=groups, control=sets["draw"] > 0)
    return sets[[*_COLUMNS, "cells", "covered"]]


def unit_object_rows(folder: Path) -> pd.DataFrame:
    """Rows of `object_rows` from effects.parquet alone, whose units are objects or control boxes of some."""
    columns = _COLUMNS
    boxes = read_box_table(folder)[["sample", "object", "label"]]
    if boxes.empty or not has_all_rows(folder):
        return pd.DataFrame(columns=columns)
    of_objects = []
    for table in row_groups(folder / EFFECTS, ["sample", "condition", "unit", "class", "effect", "log_odds_effect"]):
        rows = table.to_pandas()
        unit = rows.pop("unit")
        rows["object"] = unit.map(lambda name: name.partition(MATCHED_CONTROL)[0]).astype(str)
        rows["control"] = unit.map(lambda name: MATCHED_CONTROL in name).astype(bool)
        of_objects.append(rows.astype({"condition": str, "class": str}).merge(boxes, on=["sample", "object"]))
        if of_objects[0].empty:  # an intervention on something else, whose units are the same for all images
            break
    frame = pd.concat(of_objects) if of_objects else pd.DataFrame(columns=columns)
    return frame.assign(kind=frame["object"].map(object_kind), group=frame["sample"].map(read_groups(folder)))[columns]


def true_effects(folder: Path) -> pd.DataFrame:
    """Rows of `unit_object_rows` from images rendered without the object; empty if boxes were painted over.

    Painting has control boxes, for it is off the data; a true counterfactual needs none.
    """
    rows = unit_object_rows(folder)
    return rows if not rows["control"].any() else rows.iloc[:0]


def object_effects(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Mean true effect of removing each kind of object on each class, by condition.

    Returns:
        condition, kind, class, mean, low, high, reason (why there is no interval), the same in log-odds (log_odds,
        log_odds_low, ...), the `intervals.spread` of the effect, clusters, images, objects (how many effects).
    """
    rows = true_effects(folder).rename(columns={"log_odds_effect": "log_odds"})
    means = grouped_means(rows, _CELL, ["effect", "log_odds"], level, {"effect": EFFECT_BOUNDS}, (), "effect")
    names = dict(zip((f"effect{end}" for end in _ENDS), ("mean", "low", "high", "reason"), strict=True))
    return means.rename(columns=names).reindex(columns=TRUE)


def paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Effect of each object with control boxes, the controls' mean effect, and the difference.

    Args:
        rows: from `object_rows`.

    Returns:
        sample, group, condition, class, object, kind, label, box, control, difference, and the same in log-odds,
        log_odds.
    """
    names = ["effect", "log_odds_effect"]
    is_control = rows["control"].astype(bool)
    controls = rows[is_control].groupby(_KEY, as_index=False)[names].mean()
    both = rows[~is_control].drop(columns="control").merge(controls, on=_KEY, suffixes=("", "_control"))
    difference, log_odds = (both[name] - both[f"{name}_control"] for name in names)
    both = both.rename(columns={"effect": "box", "effect_control": "control"})
    both = both.drop(columns=["log_odds_effect", "log_odds_effect_control"])
    return both.assign(difference=difference, log_odds=log_odds)


def contrasts(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Effect of painting over an object, its box or all units that touch it, against controls of equal size.

    An object that speaks for a class is judged by its effect on that class, any other by its effect on each. The
    effects of an object's controls are averaged first; then objects are paired with their controls.

    Returns:
        condition, kind, class; box, control, difference (box minus control) and log_odds (the difference in log-odds),
        each with _low, _high and _reason; the `intervals.spread` of difference; clusters, images, objects; p, the
        two-sided p-value of the difference in log-odds, and p_holm, adjusted over the rows of the condition.
    """
    rows = object_rows(folder)
    if not rows["control"].any():
        return pd.DataFrame(columns=CONTRASTS)
    both = paired(rows)
    cells = both[both["label"].isna() | (both["label"] == both["class"])].groupby(_CELL, sort=False)
    bounds = dict.fromkeys(("box", "control", "difference"), EFFECT_BOUNDS)
    frame = grouped_means(cells.obj, _CELL, [*bounds, "log_odds"], level, bounds, (), "difference")
    frame["p"] = [mean_p_value(cell["log_odds"].to_numpy(float), cell["group"].to_numpy()) for _, cell in cells]
    frame["p_holm"] = frame.groupby("condition")["p"].transform(lambda p: holm(p.to_numpy(float)))
    return without_few(frame[CONTRASTS])


def first_half(folder: Path) -> pd.Series[bool]:
    """Return whether a sample belongs to the random half of patients used to choose units, by sample."""
    groups = read_groups(folder)
    order = np.random.default_rng(0).permutation(np.sort(groups.unique()))
    return groups.isin(order[: len(order) // 2]).sort_index()


def touching(effects: pd.DataFrame, box: pd.Series[Any]) -> pd.DataFrame:
    """Rows of single units whose box overlaps another one, which has top, left, bottom and right."""
    rows = effects[single_units(effects["unit"])]
    down = (rows["top"] < box["bottom"]) & (rows["bottom"] > box["top"])
    return rows[down & (rows["left"] < box["right"]) & (rows["right"] > box["left"])]


def single_units(names: pd.Series[str]) -> pd.Series[bool]:
    """Return whether a unit is none of a frame, a matched control, a set, and what is outside of all masks."""
    joined = names.str.contains(MATCHED_CONTROL, regex=False) | names.str.contains(SET_JOIN, regex=False)
    return ~(joined | names.str.endswith(FRAME) | (names == OUTSIDE))
