"""Findings of the effects of a run: the largest one, those of masks and objects, and what the attack does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dovision.analysis.average_effect import at_level, average_effects
from dovision.analysis.mask_effects import MASK_PLACES, mask_contrasts
from dovision.analysis.object_effects import TAG
from dovision.analysis.object_units import effects_over_objects
from dovision.findings.finding import (
    NO_DIFFERENCE,
    Finding,
    direction,
    ends,
    finding,
    images_text,
    in_brackets,
)
from dovision.findings.number_text import finer, level_text, number_text
from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import level_of_selected
from dovision.store.display_names import component_name, component_text
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, has_rows, read_effects, read_samples, read_task
from dovision.store.thumbnails import samples_in_conditions

_KINDS = 2  # of objects that have a sentence
_PICTURES = 3  # without labels that have one
_KEYS = {"": "estimate", "low": "low", "high": "high"}  # of a number of the summary
_FORMS = {"lowers": -1, "raises": 1}


def effect_findings(run: Run) -> Iterator[Finding]:
    """The largest average effect on clean images, those of masks or objects, and the success of the attack.

    Of images without labels, or of fewer than MIN_IMAGES, it is the largest effect on what is predicted of each of the
    first ones, if it is kept.
    """
    objects = [*_masks(run)] or [*_objects(run)]
    single = run.summary["conditions"][CLEAN]["images"] < MIN_IMAGES  # of which nothing is an average
    if (single or not run.summary["labels"]) and has_rows(run.folder):
        yield from _each_picture(run)
    else:
        yield from objects or _largest(run)
    yield from _attack(run)


def _largest(run: Run) -> Iterator[Finding]:
    frame = average_effects(run.folder)
    opposite = read_task(run.folder).opposite
    clean = frame[(frame["condition"] == CLEAN) & frame["mean"].notna() & (frame["class"] != opposite)]
    if clean.empty:
        return
    row = clean.loc[clean["mean"].abs().idxmax()]
    level = level_of_selected(1, len(clean))
    row = at_level(clean.loc[[row.name]], level).iloc[0].to_dict()
    what = f"do({row['unit']}{_fill(run)}) on P({row['class']})"
    number, images = in_brackets(row), images_text(row["images"])
    among = (
        f"the largest of {len(clean):,} average effects, so at {level_text(level)}" if len(clean) > 1 else "on average"
    )
    if sign := direction(row):
        verb = next(verb for verb, way in _FORMS.items() if way == sign)
        text = f"{what.replace(' on ', f' {verb} ')} by {in_brackets(_sized(row), form='.3f')} ({among}; {images})."
    elif row["mean"] == 0:
        text = f"No unit{_fill(run)} has an average effect on a class: each of {len(clean):,} is 0.000 ({images})."
    elif pd.isna(row["low"]):
        text = f"The average effect of {what} is {number}, the largest of {len(clean):,} ({row['reason']}; {images})."
    else:
        text = f"The average effect of {what} is {number}, {among}: {NO_DIFFERENCE} from 0 ({images})."
    yield finding("largest_effect", text, row, row["images"])


def _each_picture(run: Run) -> Iterator[Finding]:
    """The largest effect on the predicted class of each of the first pictures; single ones, so without an interval."""
    samples = read_samples(run.folder)
    names = samples[samples["condition"] == CLEAN].set_index("sample")["name"]
    pictured = samples_in_conditions(run.folder, [CLEAN])[:_PICTURES]
    effects = read_effects(run.folder, pictured)
    effects = effects[effects["condition"] == CLEAN]
    for number, sample in enumerate(pictured):
        own = effects[effects["sample"] == sample]
        if own.empty:
            continue
        own = own[own["class"] == own.loc[own["control"].idxmax(), "class"]]
        row = own.loc[own["effect"].abs().idxmax()]
        size = number_text(abs(row["effect"]), finer(".3f", row["effect"]))
        verb = f"takes {size} off" if row["effect"] < 0 else f"adds {size} to"
        change = f"{verb} P({row['class']}) = {row['control']:.3f}"
        units = f"the largest effect of {len(own):,} units"
        text = f"{names[sample]}: do({row['unit']}{_fill(run)}) {change}, {units} (one picture, no interval)."
        yield finding(f"largest_effect_{number}", text, {"mean": row["effect"]}, 1)


def _masks(run: Run) -> Iterator[Finding]:
    """Whether the evidence is inside the mask of the largest effect: paired with all outside, and the mask moved."""
    rows = [
        row for row in run.summary.get("mask_contrasts", []) if row["condition"] == CLEAN and row["inside"] is not None
    ]
    if not rows:
        return
    level = level_of_selected(1, len(rows))
    if len(rows) > 1:
        frame = mask_contrasts(run.folder, level)
        frame = frame[frame["condition"] == CLEAN].astype(object)
        rows = frame.where(frame.notna(), None).to_dict("records")
    row = max(rows, key=lambda row: row["inside"] or 0)
    among = f"the largest of {len(rows):,}, so at {level_text(level)}; " if len(rows) > 1 else ""
    size = {name: number_text(row[name], finer(".3f", row[name])) for name in MASK_PLACES if row[name] is not None}
    what = f"The effect of do({row['mask']}{_fill(run)}) on P({row['class']}), {size['inside']} in size,"
    others = {"moved": "the mask moved elsewhere", "outside": "all outside it"}
    for name, words in others.items():
        column = f"minus_{name}"
        if row[name] is None:
            continue
        is_ = {1: "is larger than", -1: "is smaller than", 0: "is not shown to differ from"}[direction(row, column)]
        images, number = row[f"{column}_images"], f"inside minus {name} {in_brackets(row, column)}"
        text = f"{what} {is_} that of {words}, {size[name]}"
        text = f"{text} ({among}{number}, paired; n = {images:,} images, {row['clusters']:,} groups)."
        yield finding(f"mask_{column}", text, row, images, column)


def _objects(run: Run) -> Iterator[Finding]:
    """Effects of true or painted objects, or of the units that lie over objects; the strongest kind first.

    None of a kind of which there are too few images for an interval.
    """
    tables = {"object_effects": "", "contrasts": "difference"}
    name = next((name for name in tables if run.summary.get(name)), "")
    rows, column = (run.summary[name], tables[name]) if name else (_over_objects(run), "")
    clean = [row for row in rows if row["condition"] == CLEAN and not pd.isna(ends(row, column)[1])]
    if not clean:
        return
    words = {
        "object_effects": "Taking the {kind} away changes P({label}) by {size}",
        "contrasts": "Painting over the {kind}'s box changes P({label}) by {size} beyond boxes of its size elsewhere",
        "": "Setting the {unit} over the {kind}{fill} changes P({label}) by {size} on average",
    }[name]
    unit = "cell" if "rows" in run.config.get("intervention", {}) else "unit"
    for row in _one_class(without_opposite(clean, read_task(run.folder).opposite), column)[:_KINDS]:
        size, fill = in_brackets(row, column), _fill(run).replace(" = ", " to ")
        text = words.format(kind=row["kind"], label=row["class"], size=size, unit=unit, fill=fill)
        shown = "" if direction(row, column) else f", {NO_DIFFERENCE} from 0"
        text = f"{text}{shown} ({images_text(row['images'])})."
        yield finding(f"effect_of_{row['kind']}", text, row, row["images"], column)


def without_opposite(rows: Sequence[Mapping[str, Any]], opposite: str | None) -> Sequence[Mapping[str, Any]]:
    """Rows of objects on classes, without those on `Task.opposite` if the other class has a row of each kind."""
    others = [row for row in rows if row["class"] != opposite]
    return others if {row["kind"] for row in others} == {row["kind"] for row in rows} else rows


def _over_objects(run: Run) -> Sequence[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = effects_over_objects(run.folder).to_dict("records")
    return rows


def _one_class(rows: Sequence[Mapping[str, Any]], column: str) -> list[Mapping[str, Any]]:
    """Of each kind of object the row of the class that it changes most, the largest first; the tag before others."""
    name = column or "mean"
    frame = pd.DataFrame(rows)
    frame = frame[frame[name].notna()].assign(size=lambda own: own[name].astype(float).abs())
    frame = frame.sort_values(["size"], ascending=False, kind="stable")
    label = frame["class"].iloc[0] if len(frame) else None
    own = frame[frame["class"] == label] if (frame["kind"] == TAG).any() else frame
    found: list[Mapping[str, Any]] = own.drop_duplicates("kind").to_dict("records")
    return found


def _largest_epsilon(run: Run) -> tuple[str, Mapping[str, Any]] | None:
    """The condition with the largest epsilon of which the success is known, and its numbers."""
    conditions = {name: found for name, found in run.summary["conditions"].items() if name != CLEAN}
    attacked = {name: found for name, found in conditions.items() if found["success_rate"] is not None}
    return max(attacked.items(), key=lambda item: float(item[1]["eps"])) if attacked else None


def attack_success(run: Run) -> Iterator[Finding]:
    """The success of the attack with the largest epsilon."""
    if (largest := _largest_epsilon(run)) is None:
        return
    name, found = largest
    attack = component_name(str(run.config.get("attack", {}).get("_target_", "attack")).rpartition(".")[2])
    rate = {end or "mean": found["success_rate"][key] for end, key in _KEYS.items()}
    share = in_brackets(rate, form=".3f")
    eps = name.removeprefix("eps=")
    if found["accuracy"] is None:  # without labels
        text = f"{attack} at epsilon {eps} changes the predicted class of {share} of the images"
    else:
        text = f"{attack} at epsilon {eps} succeeds on {share} of the images that were predicted rightly before"
    yield finding("attack_success", f"{text} ({found['images']:,} images in all).", rate, found["images"])


def _attack(run: Run) -> Iterator[Finding]:
    """The success of the attack with the largest epsilon, and whether it raises the effects."""
    yield from attack_success(run)
    name, found = _largest_epsilon(run) or ("", {"auroc": None})
    eps = name.removeprefix("eps=")
    if found["auroc"] is not None:
        area = {end or "mean": found["auroc"][key] for end, key in _KEYS.items()}
        how = {1: "larger than", -1: "smaller than", 0: "not shown to differ from"}[direction(area, middle=0.5)]
        number = f"AUROC {in_brackets(area, form='.3f')}, epsilon {eps}, {found['images']:,} images"
        text = f"On successfully attacked images |expected effect| is {how} that on clean ones"
        text = f"{text} ({number}, no control for noise)."
        yield finding("effect_auroc", text, area, found["images"])


def _fill(run: Run) -> str:
    fill = run.config.get("intervention", {}).get("fill")
    return f" = {component_text(fill)}" if isinstance(fill, Mapping) else ""


def _sized(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the size of its number, of which the interval has one sign, in place of it."""
    mean, low, high = np.abs([row[name] for name in ("mean", "low", "high")])
    return dict(row) | {"mean": mean, "low": min(low, high), "high": max(low, high)}
