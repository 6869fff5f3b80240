"""The effects that findings are about, and that refuters measure again: of objects, masks, zones or a unit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import LEVEL, level_of_selected
from dovision.results.effect_sums import read_cells
from dovision.results.image_tables import SETS_FILE
from dovision.results.mask_effects import INSIDE_MINUS, mask_contrasts, mask_sizes
from dovision.results.object_effects import TAG, contrasts, object_effects, object_rows, paired
from dovision.results.tables import CLEAN, has_rows, read_groups, read_samples, read_table, read_task
from dovision.results.zone_effects import (
    TRUE_CLASS,
    explained,
    few_units,
    strongest_zone,
    units_by_zone,
    zone_rows,
)
from dovision.types import MATCHED_CONTROL, OUTSIDE

OBJECT_TABLES = {"object_effects": object_effects, "contrasts": contrasts}  # by their names in the summary
KINDS = 2  # of objects that have a finding
OF_OBJECT = "effect_of_"  # begins the name of the effect of an object


class Subject(NamedTuple):
    """What the network may use: an object, a mask, a zone or a unit, with its effects and those of its control."""

    form: str  # of its sentence
    name: str
    label: str  # the class, in words
    of: str  # the class, or TRUE_CLASS or PREDICTED_CLASS, which `units` has for each image
    done: str  # to it, such as "{over} its box", of what a run paints over a {unit}
    rows: pd.DataFrame  # sample, group, condition, effect, effect_elsewhere, log_odds_effect (but for masks)
    units: pd.DataFrame  # sample, condition, unit, class, effect
    row: Mapping[str, Any]  # averages over the clean images
    beyond: Mapping[str, str]  # columns of `row` with differences to the controls in log-odds, by what they are
    means: Mapping[str, str]  # likewise those with changes of P
    level: float  # of intervals, of the largest of so many
    headlines: Mapping[str, Mapping[str, Collection[str]]]  # by name, the controls whose mean a unit's effect is minus
    sizes: bool = False  # differences are of sizes, and so above 0 whatever the sign of the effect

    def of_images(self) -> dict[int, tuple[list[str], list[str]]]:
        """Units and classes of each clean image, by sample."""
        clean = self.units[self.units["condition"] == CLEAN].groupby("sample")[["unit", "class"]]
        pairs = clean.agg(lambda column: [*map(str, column.unique())])
        return {int(sample): (units, classes) for sample, units, classes in pairs.itertuples()}


def subjects(folder: Path) -> list[Subject]:
    """Subjects of a run's tables, the strongest first; none without effects image by image, labels or enough images."""
    samples = read_samples(folder)
    is_few = (samples["condition"] == CLEAN).sum() < MIN_IMAGES
    if is_few or not (samples["correct"].notna().any() and has_rows(folder)):
        return []
    return [*_mask(folder)] or [*_objects(folder)] or [*_zone(folder)] or [*_unit(folder)]


def strongest_mask(folder: Path) -> tuple[Mapping[str, Any], float] | None:
    """Row of `mask_contrasts` with the largest effect inside on clean images, and the level of the largest of so many.

    None without masks.
    """
    frame = mask_contrasts(folder)
    sizes = frame.loc[frame["condition"] == CLEAN, "inside"].dropna().astype(float)
    if sizes.empty:
        return None
    level = level_of_selected(1, len(sizes))
    return mask_contrasts(folder, level).loc[sizes.idxmax()].to_dict(), level


def strongest_objects(folder: Path) -> tuple[str, list[dict[str, Any]], float]:
    """Objects with the largest effects on clean images, of kinds with an interval.

    Of the KINDS strongest each on its most affected class; all on the class of the tag if there is one.

    Returns:
        The name of their table; its rows, the strongest kind first, at the level of the largest of so many; this level.
    """
    for name, table in OBJECT_TABLES.items():
        frame = table(folder)
        is_known = frame["difference_low" if name == "contrasts" else "low"].notna()
        clean = without_opposite(frame[(frame["condition"] == CLEAN) & is_known], read_task(folder).opposite)
        if len(clean):
            order = clean["log_odds"].dropna().astype(float).abs().sort_values(ascending=False, kind="stable").index
            by_size = clean.loc[order]
            if (by_size["kind"] == TAG).any():
                by_size = by_size[by_size["class"] == by_size["class"].iloc[0]]
            places = by_size.drop_duplicates("kind").index[:KINDS]
            level = level_of_selected(len(places), len(clean))
            return name, table(folder, level).loc[places].to_dict("records"), level
    return "", [], LEVEL


def without_opposite(rows: pd.DataFrame, opposite: str | None) -> pd.DataFrame:
    """Drop rows on `Task.opposite` if the other class has a row of each kind of object."""
    others = rows[rows["class"] != opposite]
    return others if {*others["kind"]} == {*rows["kind"]} else rows


def _mask(folder: Path) -> Iterator[Subject]:
    """The mask of the largest effect, against its outside and the mask moved elsewhere."""
    if (strongest := strongest_mask(folder)) is None:
        return
    row, level = strongest
    name, label = str(row["mask"]), str(row["class"])
    others = {other: column for column, other in INSIDE_MINUS.items() if not pd.isna(row[other])}
    rows = mask_sizes(folder)
    rows = rows[(rows["condition"] == CLEAN) & (rows["mask"] == name) & (rows["class"] == label)]
    elsewhere = rows["effect_moved" if "moved" in others else "effect_outside"]
    rows = rows.assign(unit=rows["mask"], effect_elsewhere=elsewhere)
    beyond = {f"size minus that {other}": f"{column}_log_odds" for other, column in others.items()}
    means = {f"mean size on P minus that {other}": column for other, column in others.items()}
    controls = {"moved": _controls(folder, name), "outside": [OUTSIDE]}
    headlines = {f"mask_{column}": {name: controls[other]} for other, column in others.items()}
    averages = row, beyond, means, level, headlines
    yield Subject("object", name, label, label, "{over} it", rows, rows, *averages, sizes=True)


def _objects(folder: Path) -> Iterator[Subject]:
    """True or painted objects; none of a kind with too few images for an interval."""
    table, strongest, level = strongest_objects(folder)
    rows = object_rows(folder) if strongest else pd.DataFrame()
    of_cells, is_painted = "covered" in rows, table == "contrasts"
    if is_painted:  # on the class of the object, beside the mean effect of its controls
        rows = paired(rows).rename(columns={"box": "effect", "control": "effect_elsewhere"})
        rows = rows[rows["label"].isna() | (rows["label"] == rows["class"])]
        rows = rows.assign(log_odds_effect=rows["log_odds"])
    rows = rows.rename(columns={"object": "unit"})
    done = "without it" if not is_painted else "{over} it" if of_cells else "{over} its box"
    for row in strongest:
        name, label = row["kind"], row["class"]
        of_object = rows[(rows["kind"] == name) & (rows["class"] == label)]
        if not is_painted:
            of_object = of_object.assign(effect_elsewhere=np.nan)
        if of_cells:
            clean = of_object[of_object["condition"] == CLEAN]
            row |= {"covered": clean["covered"].mean(), "cells": clean["cells"].median()}
        controls = {unit: _controls(folder, unit) for unit in of_object["unit"].unique() if is_painted}
        averages = {"beyond the control": "log_odds"}, {"mean change of P": "difference" if is_painted else "mean"}
        headlines = {f"{OF_OBJECT}{name}": controls}
        yield Subject("object", name, label, label, done, of_object, of_object, row, *averages, level, headlines)


def _zone(folder: Path) -> Iterator[Subject]:
    """The zone whose units lower the true class most, against units elsewhere in the same images."""
    units, task = units_by_zone(folder), read_task(folder)
    rows = zone_rows(units, read_groups(folder))
    if (strongest := strongest_zone(rows)) is None:
        return
    zone, means = strongest
    row = means.iloc[0].to_dict()
    of, level = row["of"], float(row["level"])
    rows, units = (frame[(frame["zone"] == zone) & (frame["of"] == of)] for frame in (rows, units))
    names = {"mean change of P": "effect", "elsewhere": "effect_elsewhere", "log-odds": "log_odds_effect"}
    names |= {} if pd.isna(row["beyond_frame"]) else {"log-odds beyond its frame": "beyond_frame"}
    label = of if task.opposite is None else task.classes[1]
    averages: tuple[Any, ...] = row, {"beyond units elsewhere": "log_odds_beyond"}, names, level, {"zone_effect": {}}
    yield Subject("zone", zone, label, of, "{over} a {unit} there", rows, units, *averages)


def _unit(folder: Path) -> Iterator[Subject]:
    """The strongest unit of those that have most of the effects, on images that did not choose it."""
    if (row := few_units(folder)) is not None:
        classes = explained(folder).assign(unit=row["unit"])
        classes = classes[classes["sample"].isin(row["samples"]) & (classes["of"] == TRUE_CLASS)]
        averages: tuple[Any, ...] = row, {}, {}, LEVEL, {"unit_effect": {}}
        yield Subject("units", row["unit"], TRUE_CLASS, TRUE_CLASS, "", pd.DataFrame(), classes, *averages)


def _controls(folder: Path, unit: str) -> list[str]:
    """Names of a unit's matched controls."""
    names = read_cells(folder).unit
    if (folder / SETS_FILE).is_file():
        draws = read_table(folder / SETS_FILE, ["draw"])["draw"].unique().to_pylist()
        names = (*names, *(f"{unit}{MATCHED_CONTROL}{draw - 1}" for draw in sorted(draws) if draw))
    return [name for name in names if name.partition(MATCHED_CONTROL)[0] == unit != name]
