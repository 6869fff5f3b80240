"""The effects that the findings of a run are about: which units of which images each of them averages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import LEVEL, level_of_selected
from dovision.results.effect_sums import read_cells
from dovision.results.image_tables import SETS_FILE
from dovision.results.mask_effects import INSIDE_MINUS, mask_contrasts
from dovision.results.object_effects import TAG, contrasts, object_effects, object_rows
from dovision.results.tables import CLEAN, read_groups, read_samples, read_table, read_task
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
OF_ZONE, OF_UNIT, OF_MASK, OF_OBJECT = "zone_effect", "unit_effect", "mask_", "effect_of_"  # of findings, or the start


class Headline(NamedTuple):
    """Effects that a finding averages: of one class, or of each image's true one, and of some units of each image."""

    name: str  # of the finding
    subject: str  # the unit, zone, mask or kind of object that it names
    label: str  # TRUE_CLASS: `classes` has that of each image
    units: Mapping[int, Collection[str]]  # by sample
    level: float  # of intervals of the largest of so many
    controls: Mapping[str, Collection[str]] = {}  # by unit: units whose mean effect is subtracted from the unit's
    sizes: bool = False  # of effects, rather than effects
    classes: Mapping[int, Sequence[str]] = {}  # by sample


def headline_effects(folder: Path) -> list[Headline]:
    """Headline effects of a run's tables, as `effect_findings` chooses them; none of too few images or no labels."""
    samples = read_samples(folder)
    labelled = samples["correct"].notna().any()
    if not labelled or (samples["condition"] == CLEAN).sum() < MIN_IMAGES:
        return []
    return [*_of_masks(folder)] or [*_of_objects(folder)] or [*_of_zone(folder)]


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


def _of_zone(folder: Path) -> Iterator[Headline]:
    """Headline of the strongest zone, or else of the strongest unit, on the images that did not choose it."""
    classes = explained(folder)
    classes = classes[(classes["of"] == TRUE_CLASS) & (classes["condition"] == CLEAN)]
    true = {int(sample): tuple(names) for sample, names in classes.groupby("sample")["class"]}
    units = units_by_zone(folder)
    if (strongest := strongest_zone(zone_rows(units, read_groups(folder)))) is not None:
        zone, means = strongest
        inside = units[(units["zone"] == zone) & units["sample"].isin(true)].groupby("sample")["unit"].unique()
        named = {int(sample): tuple(map(str, names)) for sample, names in inside.items()}
        yield Headline(OF_ZONE, zone, TRUE_CLASS, named, float(means["level"].iloc[0]), classes=true)
    elif (few := few_units(folder)) is not None:
        named = dict.fromkeys(set(few["samples"]) & set(true), (few["unit"],))
        yield Headline(OF_UNIT, few["unit"], TRUE_CLASS, named, LEVEL, classes=true)


def _of_masks(folder: Path) -> Iterator[Headline]:
    if (strongest := strongest_mask(folder)) is None:
        return
    row, level = strongest
    mask = row["mask"]
    units = dict.fromkeys(map(int, read_samples(folder)["sample"].unique()), (mask,))  # where it is not: no region
    controls = {"moved": _controls(folder, mask), "outside": [OUTSIDE]}
    for name, other in INSIDE_MINUS.items():
        if not pd.isna(row[other]):
            subtracted = {mask: controls[other]}
            yield Headline(f"{OF_MASK}{name}", mask, row["class"], units, level, subtracted, sizes=True)


def _of_objects(folder: Path) -> Iterator[Headline]:
    name, shown, level = strongest_objects(folder)
    rows = object_rows(folder)
    rows = rows[(rows["condition"] == CLEAN) & ~rows["control"].astype(bool)]
    if name == "contrasts":
        rows = rows[rows["label"].isna() | (rows["label"] == rows["class"])]
    for row in shown:
        chosen = rows[(rows["kind"] == row["kind"]) & (rows["class"] == row["class"])]
        units = chosen.groupby("sample")["object"].unique()
        named = {int(sample): tuple(map(str, names)) for sample, names in units.items()}
        objects = {unit for of_sample in named.values() for unit in of_sample} if name == "contrasts" else ()
        controls = {unit: _controls(folder, unit) for unit in objects}
        yield Headline(f"{OF_OBJECT}{row['kind']}", row["kind"], row["class"], named, level, controls)


def _controls(folder: Path, unit: str) -> list[str]:
    """Names of a unit's matched controls."""
    names = read_cells(folder).unit
    if (folder / SETS_FILE).is_file():
        draws = read_table(folder / SETS_FILE, ["draw"])["draw"].unique().to_pylist()
        names = (*names, *(f"{unit}{MATCHED_CONTROL}{draw - 1}" for draw in sorted(draws) if draw))
    return [name for name in names if name.partition(MATCHED_CONTROL)[0] == unit != name]
