"""Effects on the classes of each image: of units by named zones of the image, and of a few units against all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import EFFECT_BOUNDS, LEVEL, UNIT_BOUNDS, level_of_selected
from dovision.results.average_effect import grouped_means
from dovision.results.object_effects import first_half, single_units
from dovision.results.tables import CLEAN, EFFECTS, read_groups, read_samples, read_task, row_groups
from dovision.types import FRAME, Box

ZONES = (  # of a third of the height and of the width each
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)
TRUE_CLASS, PREDICTED_CLASS = "true class", "predicted class"
_CLASS_COLUMNS = {TRUE_CLASS: "label", PREDICTED_CLASS: "prediction"}
_IMAGE = ["sample", "condition", "of"]
_EFFECTS = ["effect", "log_odds_effect"]
_LARGEST_SHARE = 1 / 4  # of the image, of a unit that lies in a zone
_HALF = 0.5  # of the size of all effects


def explained(folder: Path) -> pd.DataFrame:
    """True and predicted classes of each image and condition: sample, condition, of (which of the two), class.

    Without the class that is only the opposite of another one, and without those of which rows can be missing.
    """
    samples, task = read_samples(folder), read_task(folder)
    frames = []
    for of, column in _CLASS_COLUMNS.items():
        rows = samples[["sample", "condition"]].assign(of=of)
        if np.ndim(samples[column].iloc[0]):
            numbers = samples[column].map(lambda flags: np.flatnonzero(np.asarray(flags) == 1))
            rows = rows.assign(number=numbers).explode("number").dropna()
        else:
            rows = rows.assign(number=samples[column])
        frames.append(rows[rows["number"] >= 0])
    frame = pd.concat(frames, ignore_index=True)
    names = frame.pop("number").map(lambda number: task.classes[int(number)])
    frame = frame.assign(**{"class": names})
    return frame[frame["class"] != task.opposite]


def unit_rows(folder: Path) -> Iterator[pd.DataFrame]:
    """Effects of units on the true and on the predicted class of each image, row group by row group.

    Without frames, control units, sets of units, and what is outside of all masks.

    Returns:
        sample, condition, of, class, unit, control, effect, log_odds_effect, beyond_frame (the latter minus that of
        the unit's frame alone, nan where none was painted) and the unit's box (nan without one).
    """
    classes = explained(folder)
    names = ["sample", "condition", "class", "unit", "control", *_EFFECTS, *Box._fields]
    for table in row_groups(folder / EFFECTS, names):
        rows = table.to_pandas().astype({"condition": str, "unit": str, "class": str})
        rows = rows.merge(classes, on=["sample", "condition", "class"])
        frame = rows["unit"].str.endswith(FRAME)
        keys = [*_IMAGE, "class", "unit"]
        of_frame = rows[frame].assign(unit=rows["unit"].str.removesuffix(FRAME), beyond_frame=rows["log_odds_effect"])
        rows = rows[single_units(rows["unit"])].merge(of_frame[[*keys, "beyond_frame"]], "left", keys)
        yield rows.assign(beyond_frame=rows["log_odds_effect"] - rows["beyond_frame"])


def units_by_zone(folder: Path) -> pd.DataFrame:
    """Rows of `unit_rows` whose unit has a position and a quarter of the image at most, with its zone."""
    frames, height, width = [], 1.0, 1.0
    for rows in unit_rows(folder):
        rows = rows.dropna(subset=["top"])
        height, width = max(height, rows["bottom"].max()), max(width, rows["right"].max())
        frames.append(rows[(rows["bottom"] > rows["top"]) & (rows["right"] > rows["left"])])
    if not frames:
        return pd.DataFrame(columns=[*_IMAGE, "unit", "zone", "beyond_frame", *_EFFECTS])
    rows = pd.concat(frames, ignore_index=True)
    area = (rows["bottom"] - rows["top"]) * (rows["right"] - rows["left"])
    rows = rows[area <= _LARGEST_SHARE * height * width]
    down, across = (
        ((rows[start] + rows[end]) * 1.5 / length).astype(int).clip(0, 2).to_numpy()  # the third of the middle
        for start, end, length in (("top", "bottom", height), ("left", "right", width))
    )
    return rows.assign(zone=pd.Series(np.array(ZONES, object)[down, across], rows.index, dtype=object))


def zone_rows(units: pd.DataFrame, groups: pd.Series[int]) -> pd.DataFrame:
    """Mean effect of the units in each zone of each image, and of its units elsewhere, the control.

    Args:
        units: from `units_by_zone`.
        groups: patient of each sample.

    Returns:
        sample, group, condition, of, zone, and effect, log_odds_effect, beyond_frame, effect_elsewhere,
        log_odds_effect_elsewhere, log_odds_beyond (minus elsewhere), each the mean over units and classes; no rows of
        images whose units all lie in one zone.
    """
    whole = units.groupby(_IMAGE)[_EFFECTS].sum().add_prefix("all_").assign(all=units.groupby(_IMAGE).size())
    inside = units.groupby([*_IMAGE, "zone"])[_EFFECTS].sum()
    inside = inside.assign(number=units.groupby([*_IMAGE, "zone"]).size()).reset_index().join(whole, on=_IMAGE)
    inside = inside[inside["number"] < inside["all"]]
    for name in _EFFECTS:
        rest = inside["all"] - inside["number"]
        inside[f"{name}_elsewhere"] = (inside.pop(f"all_{name}") - inside[name]) / rest
        inside[name] /= inside["number"]
    frames = units.groupby([*_IMAGE, "zone"])["beyond_frame"].mean()
    inside = inside.join(frames, on=[*_IMAGE, "zone"])
    beyond = inside["log_odds_effect"] - inside["log_odds_effect_elsewhere"]
    return inside.drop(columns=["all", "number"]).assign(log_odds_beyond=beyond, group=inside["sample"].map(groups))


def strongest_zone(rows: pd.DataFrame) -> tuple[str, pd.DataFrame] | None:
    """Zone whose units lower the true class most beyond those elsewhere, in clean images, or None; and its effects.

    Args:
        rows: from `zone_rows`; zones that fewer than MIN_IMAGES images have are left out.

    Returns:
        The name, and a row for the true class and the predicted one (the latter alone without labels): of, and
        effect, effect_elsewhere, log_odds_effect, log_odds_beyond and beyond_frame with intervals of the level of one
        chosen zone (`level`), the `intervals.spread` of effect, images, clusters.
    """
    clean = rows[rows["condition"] == CLEAN]
    of = TRUE_CLASS if (clean["of"] == TRUE_CLASS).any() else PREDICTED_CLASS
    zones = clean[clean["of"] == of].groupby("zone")
    means = zones["log_odds_beyond"].mean()[zones["sample"].nunique() >= MIN_IMAGES]
    if len(means) < 2:
        return None
    zone, level = str(means.idxmin()), level_of_selected(1, len(means))
    bounded = dict.fromkeys(("effect", "effect_elsewhere"), EFFECT_BOUNDS)
    names = [*bounded, "log_odds_effect", "log_odds_beyond", "beyond_frame"]
    by_class = grouped_means(
        clean[clean["zone"] == zone], ["condition", "of"], names, level, bounded, spread_of="effect"
    )
    return zone, by_class.assign(level=level).sort_values("of", ascending=False)


def change_of_effect(rows: pd.DataFrame, condition: str, level: float = LEVEL) -> dict[str, Any] | None:
    """Mean effect in log-odds in clean images and in a condition, and its change, paired image by image.

    Args:
        rows: effects of one subject: sample, group, condition, log_odds_effect; several of an image are averaged.
        condition: that is compared with clean images.
        level: of the intervals.

    Returns:
        clean, attacked, change, with intervals, images and clusters; None without images in both.
    """
    wide = rows[rows["condition"].isin([CLEAN, condition])].pivot_table(
        "log_odds_effect", ["sample", "group"], "condition", observed=True
    )
    if not {CLEAN, condition} <= {*wide} or (wide := wide.dropna()).empty:
        return None
    wide = wide.reset_index().rename(columns={CLEAN: "clean", condition: "attacked"}).assign(all=0)
    wide["change"] = wide["attacked"] - wide["clean"]
    means = grouped_means(wide, ["all"], ["clean", "attacked", "change"], level)
    return {str(name): value for name, value in means.iloc[0].items()}


def few_units(folder: Path) -> dict[str, Any] | None:
    """Share of the size of all effects that the strongest units have, which were chosen on other images.

    A random half of the patients chooses as few units as have half of the size of all effects on the true class (on the
    predicted one without labels); all numbers are of the other half.

    Returns:
        few, units (their numbers), samples, images, clusters, share with its interval and `intervals.spread`; the
        strongest of them, unit, and its mean effect and log_odds_effect with intervals; of, the class. None where units
        have a position, or are fewer than 8.
    """
    frames = []
    for rows in unit_rows(folder):
        if rows["top"].notna().any():
            return None
        frames.append(rows[rows["condition"] == CLEAN])
    rows = pd.concat(frames) if frames else pd.DataFrame(columns=["unit", "of"])
    of = TRUE_CLASS if (rows["of"] == TRUE_CLASS).any() else PREDICTED_CLASS
    rows = rows[rows["of"] == of]
    units = rows["unit"].nunique()
    if units < 8:
        return None
    size = rows.assign(size=rows["effect"].abs())
    half = first_half(folder)
    chosen = rows["sample"].map(half)
    by_size = size[chosen].groupby("unit")["size"].sum().sort_values(ascending=False, kind="stable")
    if not by_size.sum():
        return None
    few = int((by_size.cumsum() < _HALF * by_size.sum()).sum()) + 1
    rest = size[~chosen]
    of_image = rest.groupby("sample")["size"].sum()
    top = rest[rest["unit"].isin(by_size.index[:few])].groupby("sample")["size"].sum()
    groups = read_groups(folder)
    shares = (top / of_image).dropna().rename("share").reset_index()
    shares = shares.assign(group=shares["sample"].map(groups), of=of)
    unit = str(by_size.index[0])
    strongest = rest[rest["unit"] == unit].groupby("sample")[_EFFECTS].mean().reset_index()
    strongest = strongest.assign(group=strongest["sample"].map(groups), of=of)
    numbers: dict[str, Any] = {"few": few, "units": units, "unit": unit, "samples": strongest["sample"].tolist()}
    bounds = {"effect": EFFECT_BOUNDS, "share": UNIT_BOUNDS}
    for frame, names in ((strongest, _EFFECTS), (shares, ["share"])):
        of_frame = {name: bounds[name] for name in names if name in bounds}
        means = grouped_means(frame, ["of"], names, bounds=of_frame, spread_of=names[0])
        numbers |= means.iloc[0].to_dict() if len(means) else {}
    return numbers if "share" in numbers else None
