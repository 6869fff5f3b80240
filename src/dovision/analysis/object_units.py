"""Match of an intervention's units with the objects of images, by effect and by activity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.analysis.object_effects import TRUE, mean_object_effects, object_rows, true_effects
from dovision.functional import estimates
from dovision.functional.detection import Scored, auroc
from dovision.functional.estimates import of_images, share_of_images
from dovision.functional.intervals import LEVEL
from dovision.store.activity import ACTIVITY
from dovision.store.map_tables import known_boxes, read_box_table
from dovision.store.tables import (
    CLEAN,
    EFFECTS,
    SAMPLES,
    boxes_of,
    has_all_rows,
    read_groups,
    read_table,
    read_task,
    row_groups,
)
from dovision.types import FRAME, MATCHED_CONTROL, OUTSIDE, SET_JOIN, Box, Shape, object_kind

MATCHES = ["class", "kind", "unit", "units", "r", "r_low", "r_high", "true", "measured", "elsewhere"]
MATCHES += ["images", "others"]
PLACES = ["kind", "unit", "auroc", "auroc_low", "auroc_high", "auroc_reason", "pointing", "pointing_low"]
PLACES += ["pointing_high", "pointing_reason", "area", "images", "others"]


def unit_matches(folder: Path, judge: Path) -> pd.DataFrame:
    """Match each kind of object with the unit whose clean effects correlate best with true effects.

    The unit is chosen on a random half of the patients, by its correlation with the true effect, which is 0 where there
    is no such object; all numbers are of the images of the others.

    Args:
        folder: of the run.
        judge: of a run of the same classifier and images that drew each image again without an object.

    Returns:
        class, kind, unit, units (among how many it was chosen); r, r_low, r_high, the correlation with its 95% interval
        over images; the means true and measured over the images with the object, and elsewhere, the mean size of the
        unit's effect on the others; images and others, how many these are.
    """
    rows = [
        {"class": label, "kind": object_name, **_match(truth, unit_effects, first_half(folder))}
        for label, object_name, truth, unit_effects in matched_effects(folder, judge)
    ]
    return pd.DataFrame(rows, columns=MATCHES)


def matched_effects(folder: Path, judge: Path) -> Iterator[tuple[str, str, pd.Series[float], pd.DataFrame]]:
    """True effects by sample, nan without the object, and effects of all units, per class and kind.

    Of a run whose units are objects, such as painted boxes, those of the kind are one unit, of which effects add up.
    """
    effects, true = _effects(folder), true_effects(judge)
    true = true[true["condition"] == CLEAN]
    of_objects = object_rows(folder)
    of_objects = of_objects[(of_objects["condition"] == CLEAN) & ~of_objects["control"].astype(bool)]
    for (label, object_name), rows in true.groupby(["class", "kind"], sort=False):
        if label not in effects.columns.levels[0]:
            continue
        truth = rows.groupby("sample")["effect"].sum().reindex(effects.index)
        unit_effects = effects[label]
        if len(of_objects):
            chosen = of_objects[(of_objects["kind"] == object_name) & (of_objects["class"] == label)]
            unit_effects = chosen.groupby("sample")["effect"].sum().reindex(effects.index).to_frame(str(object_name))
        yield str(label), str(object_name), truth, unit_effects.fillna(0.0)


def first_half(folder: Path) -> pd.Series[bool]:
    """Return whether a sample belongs to the random half of patients used to choose units, by sample."""
    groups = read_groups(folder)
    order = np.random.default_rng(0).permutation(np.sort(groups.unique()))
    return groups.isin(order[: len(order) // 2]).sort_index()


def best_unit(truth: pd.Series[float], unit_effects: pd.DataFrame, half: pd.Series[bool]) -> str:
    """Unit whose effects correlate most with the true effects on the samples of `half`."""
    with np.errstate(invalid="ignore", divide="ignore"):  # of units that do nothing
        correlation = unit_effects[half].corrwith(truth[half].fillna(0.0))
    return str(correlation.idxmax()) if correlation.notna().any() else str(unit_effects.columns[0])


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
    boxes = known_boxes(folder)
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


def latent_places(folder: Path, shape: Shape) -> pd.DataFrame:
    """Most active latent on each kind of object.

    The latent is chosen on a random half of the patients, by the AUROC of its largest activity for images with the
    object among all; all numbers are of the images of the others.

    Args:
        folder: of a run with activity.parquet and boxes.
        shape: (C, H, W) of the images.

    Returns:
        kind, unit; auroc; pointing, the share of the images with the object in which the most active position touches
        its box, and area, the mean share of the positions that do; each but the last with _low, _high and _reason;
        images with the object, and others.
    """
    from scipy import stats  # as in functional.agreement

    boxes, activity, groups = read_box_table(folder), ACTIVITY.read(folder), read_groups(folder)
    samples = groups.index.to_numpy()
    largest = activity.pivot_table("largest", "sample", "unit", fill_value=0.0, observed=True)
    largest = largest.reindex(samples, fill_value=0.0)
    rest, rows = ~first_half(folder)[samples].to_numpy(), []
    ranks = stats.rankdata(largest[~rest], axis=0)
    for object_name, located in boxes.groupby(boxes["object"].map(object_kind), sort=False):
        present = np.isin(samples, located["sample"])
        if min((present & ~rest).sum(), (~present & ~rest).sum(), (present & rest).sum(), (~present & rest).sum()) == 0:
            continue
        unit = str(largest.columns[ranks[present[~rest]].sum(axis=0).argmax()])  # which has the largest AUROC
        score = largest[unit].to_numpy(float)
        scored = [Scored(score[chosen & rest], groups.to_numpy()[chosen & rest]) for chosen in (present, ~present)]
        hits, shares = _pointing(activity[activity["unit"] == unit], located, samples[present & rest], shape)
        intervals = {"auroc": of_images(auroc(*scored), *(len(located.score) for located in scored))}
        intervals["pointing"] = share_of_images(hits, groups[samples[present & rest]].to_numpy())
        numbers: dict[str, Any] = {"kind": object_name, "unit": unit, "area": float(np.mean(shares))}
        for name, interval in intervals.items():
            numbers |= interval.columns(name)
        rows.append({**numbers, "images": int((present & rest).sum()), "others": int((~present & rest).sum())})
    return pd.DataFrame(rows, columns=PLACES)


def _effects(folder: Path) -> pd.DataFrame:
    """Clean effects, a row per sample and a column per class and unit; 0 where a unit does not act."""
    table = read_table(folder / EFFECTS, ["sample", "condition", "unit", "class", "effect"]).to_pandas()
    clean = table[table["condition"] == CLEAN].astype({"unit": str, "class": str})
    clean = clean[clean["class"] != read_task(folder).opposite]
    samples = np.unique(read_table(folder / SAMPLES, ["sample"])["sample"].to_numpy())
    wide = clean.pivot_table("effect", "sample", ["class", "unit"], observed=True, sort=False)
    return wide.reindex(samples).fillna(0.0)


def _match(truth: pd.Series[float], unit_effects: pd.DataFrame, half: pd.Series[bool]) -> dict[str, Any]:
    unit = best_unit(truth, unit_effects, half)
    effects, true = unit_effects.loc[~half, unit].to_numpy(float), truth[~half].to_numpy(float)
    present = np.isfinite(true)
    match: dict[str, Any] = {"unit": unit, "units": len(unit_effects.columns)}
    match |= {"true": true[present].mean(), "measured": effects[present].mean()}
    match |= {"elsewhere": np.abs(effects[~present]).mean() if (~present).any() else np.nan}
    match |= {"images": int(present.sum()), "others": int((~present).sum())}
    if present.sum() < estimates.MIN_IMAGES:
        match |= dict.fromkeys(("true", "measured"), np.nan)
    if len(effects) < estimates.MIN_IMAGES or not np.ptp(effects) or not np.ptp(np.nan_to_num(true)):
        return {**match, "r": np.nan, "r_low": np.nan, "r_high": np.nan}
    from scipy import stats  # as in functional.agreement

    correlation = stats.pearsonr(effects, np.nan_to_num(true))
    low, high = correlation.confidence_interval()
    return {**match, "r": correlation.statistic, "r_low": low, "r_high": high}


def _pointing(
    activity: pd.DataFrame, boxes: pd.DataFrame, samples: Sequence[int] | npt.NDArray[np.int64], shape: Shape
) -> tuple[npt.NDArray[np.bool_], list[float]]:
    """Return whether each sample's most active position touches a box, and the share of such positions."""
    maps = activity.drop_duplicates("sample").set_index("sample")
    hits, shares = [], []
    for sample in samples:
        object_boxes = boxes_of(boxes[boxes["sample"] == sample])
        if sample not in maps.index:
            hits.append(False)
            continue
        activity_map = maps.loc[sample]
        cells = _touched(object_boxes, int(activity_map["rows"]), int(activity_map["columns"]), shape)
        hits.append(bool(cells.flat[int(np.argmax(activity_map["map"]))]))
        shares.append(float(cells.mean()))
    return np.array(hits, bool), shares or [float("nan")]


def _touched(boxes: Sequence[Box], rows: int, columns: int, shape: Shape) -> npt.NDArray[np.bool_]:
    """Positions of a map whose image cell overlaps a box."""
    cells = np.zeros((rows, columns), bool)
    height, width = shape[-2] / rows, shape[-1] / columns
    for box in boxes:
        bottom, right = int(np.ceil(box.bottom / height)), int(np.ceil(box.right / width))
        cells[int(box.top // height) : bottom, int(box.left // width) : right] = True
    return cells
