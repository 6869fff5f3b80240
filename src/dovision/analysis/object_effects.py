"""Effects of the objects of images: the true ones, and those of painting over a box against boxes of the same size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import LEVEL, holm, interval_columns, mean_interval, mean_p_value
from dovision.store.map_tables import BOXES_FILE, read_box_table
from dovision.store.tables import EFFECTS, read_groups, row_groups
from dovision.types import object_kind

_CONTROL = " control "  # between an object's name and the number of one of its control boxes
_KEY = ["sample", "condition", "class", "object"]
TRUE = ["condition", "kind", "class", "mean", "low", "high", "reason", "clusters", "images", "objects"]
MEANS = ("box", "control", "difference")
CONTRASTS = ["condition", "kind", "class", "clusters", "images", "objects", "p", "p_holm"]
CONTRASTS += [f"{mean}{end}" for mean in MEANS for end in ("", "_low", "_high", "_reason")]


def object_rows(folder: Path) -> pd.DataFrame:
    """The rows of effects.parquet whose unit is an object of its image, or a control box of one.

    Returns:
        sample, group, condition, class, object, kind, label, control (the unit is a control box), effect,
        log_odds_effect; no rows where the run measured something else, or knows no boxes.

    Raises:
        FileNotFoundError, ValueError: a table is missing, damaged or of another format.
    """
    columns = [*_KEY, "group", "kind", "label", "control", "effect", "log_odds_effect"]
    if not (folder / BOXES_FILE).is_file():
        return pd.DataFrame(columns=columns)
    boxes = read_box_table(folder)[["sample", "object", "label"]]
    found = []
    for table in row_groups(folder / EFFECTS, ["sample", "condition", "unit", "class", "effect", "log_odds_effect"]):
        rows = table.to_pandas()
        unit = rows.pop("unit")
        rows["object"] = unit.map(lambda name: name.partition(_CONTROL)[0]).astype(str)
        rows["control"] = unit.map(lambda name: _CONTROL in name).astype(bool)
        found.append(rows.astype({"condition": str, "class": str}).merge(boxes, on=["sample", "object"]))
        if found[0].empty:  # an intervention on something else, whose units are the same for all images
            break
    frame = pd.concat(found) if found else pd.DataFrame(columns=columns)
    return frame.assign(kind=frame["object"].map(object_kind), group=frame["sample"].map(read_groups(folder)))[columns]


def true_effects(folder: Path) -> pd.DataFrame:
    """The rows of `object_rows` where the run drew images without an object; none where it painted over boxes.

    Painting has control boxes, for it is off the data; a true counterfactual needs none.
    """
    rows = object_rows(folder)
    return rows if not rows["control"].any() else rows.iloc[:0]


def object_effects(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Mean true effect of taking away an object of each kind on each class, in each condition.

    Returns:
        condition, kind, class, mean, low, high, reason (why there is no interval), clusters, images, objects (how many
        effects there are).
    """
    rows = []
    for key, found in true_effects(folder).groupby(["condition", "kind", "class"], sort=False):
        interval = mean_interval(found["effect"].to_numpy(float), found["group"].to_numpy(), RESOLUTION, level)
        ends = (interval.estimate, interval.low, interval.high, interval.reason, interval.clusters)
        rows.append([*key, *ends, found["sample"].nunique(), len(found)])
    return pd.DataFrame(rows, columns=TRUE)


def paired(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per object that has control boxes: its effect, the mean effect of its controls, and their difference.

    Args:
        rows: from `object_rows`.

    Returns:
        sample, group, condition, class, object, kind, label, box, control, difference.
    """
    controls = rows[rows["control"].astype(bool)].groupby(_KEY, as_index=False)["effect"].mean()
    own = rows[~rows["control"].astype(bool)].drop(columns="control").rename(columns={"effect": "box"})
    both = own.merge(controls.rename(columns={"effect": "control"}), on=_KEY)
    return both.assign(difference=both["box"] - both["control"])


def contrasts(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Painting over an object's box against painting over control boxes of its size, which area alone would explain.

    An object that speaks for a class is judged by its effect on that class, any other by its effect on each. The
    effects of an object's controls are averaged first; then objects are paired with their controls.

    Returns:
        condition, kind, class; box, control and difference (box minus control), each with _low, _high and _reason;
        clusters, images, objects; p, the two-sided p-value of the difference, and p_holm, adjusted over the rows of the
        condition.
    """
    rows = object_rows(folder)
    if not rows["control"].any():
        return pd.DataFrame(columns=CONTRASTS)
    both = paired(rows)
    both = both[both["label"].isna() | (both["label"] == both["class"])]
    found = [
        {"condition": condition, "kind": kind, "class": label, **_contrast(each, level)}
        for (condition, kind, label), each in both.groupby(["condition", "kind", "class"], sort=False)
    ]
    frame = pd.DataFrame(found, columns=CONTRASTS)
    frame["p_holm"] = frame.groupby("condition")["p"].transform(lambda p: holm(p.to_numpy(float)))
    return frame


def _contrast(found: pd.DataFrame, level: float) -> dict[str, Any]:
    groups = found["group"].to_numpy()
    columns = {name: found[name].to_numpy(float) for name in MEANS}
    row: dict[str, Any] = {
        "clusters": len(np.unique(groups)),
        "images": found["sample"].nunique(),
        "objects": len(found),
        "p": mean_p_value(columns["difference"], groups),
    }
    for name, values in columns.items():
        row |= interval_columns(name, mean_interval(values, groups, RESOLUTION, level))
    return row
