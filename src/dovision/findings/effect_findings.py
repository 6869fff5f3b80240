"""Findings of the effects of a run: the largest one, those of masks and objects, and what the attack does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from dovision.analysis.average_effect import LARGE_EFFECT, at_level
from dovision.analysis.headline_effects import (
    LARGEST,
    OBJECT_TABLES,
    OF_MASK,
    OF_OBJECT,
    largest_average,
    largest_mask,
    largest_of_kinds,
)
from dovision.analysis.mask_effects import MASK_PLACES, mask_contrasts
from dovision.analysis.object_units import effects_over_objects
from dovision.analysis.unit_combinations import frame_contrasts
from dovision.findings.finding import NO_DIFFERENCE, Finding, direction, ends, finding, images_text, in_brackets
from dovision.findings.headline_numbers import counted_images
from dovision.findings.number_text import finer, level_text, number_text
from dovision.findings.refuter_findings import verdict
from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import level_of_selected
from dovision.store.display_names import GREYS, component_name, component_text
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN, has_rows, read_effects, read_samples, read_task
from dovision.store.thumbnails import samples_in_conditions

_KEY = ["condition", "kind", "class"]
_PICTURES = 3  # without labels that have one
_KEYS = {"": "estimate", "low": "low", "high": "high"}  # of a number of the summary
_PAINTED = {"PixelGrid": "cell ", "SlidingWindow": "window ", "Segments": "segment "}  # words for units
_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "spatial": "spatial"}
_NORM_OF = {"EAD": "l1", "RandomSpatial": "spatial", "Spatial": "spatial"}  # of attacks that have no other
_ROUNDING = 1 + 1e-4  # of sizes of perturbations, in float32
_ONE_FILL = " One fill; another can have another effect."


def effect_findings(run: Run) -> Iterator[Finding]:
    """Findings on the largest clean effect, on masks or objects, and on the attack's success.

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
    largest, column, several = largest_average(run.folder)
    if largest.empty:
        return
    level = level_of_selected(1, several)
    row = at_level(run.folder, largest, level).iloc[0].to_dict()
    images, label = images_text(row["images"]), row["class"]
    among = "on average"
    if several > 1:
        among = f"the largest of {several:,} average effects, so at {level_text(level)}"
    if row[column] == 0:
        fill = f" painted {fill}" if (fill := _fill(run)) else ""
        text = f"No unit{fill} has an average effect on a class: each of {several:,} is 0.000 ({images})."
    elif column == "mean":
        number = in_brackets(row)
        text = f"{_do(run, row['unit'])} changes P({label}) by {number} ({among}; {images}; {row['log_odds_reason']})."
    else:
        reason = f"; {row['log_odds_reason']}" if row["log_odds_reason"] else ""
        text = f"{_do(run, row['unit'])} {_change(row)} ({among}; {images}{reason}). {_on_probability(row)}."
    text += _one_fill(run) + _beyond_frame(run, row, level) + verdict(run, LARGEST, row["unit"], row["class"])
    yield finding(LARGEST, text, row, row["images"], "" if column == "mean" else column)


def _change(row: Mapping[str, Any]) -> str:
    """Describe a change of log-odds, such as "lowers the log-odds of 7 by 1.2 [0.9, 1.5]"."""
    if sign := direction(row, "log_odds"):
        verb = "raises" if sign > 0 else "lowers"
        mean, *sizes = np.abs(ends(row, "log_odds"))  # the interval has one sign
        size = {"mean": mean, "low": min(sizes), "high": max(sizes)}
        return f"{verb} the log-odds of {row['class']} by {in_brackets(size, form='.3f')}"
    shown = "" if pd.isna(ends(row, "log_odds")[1]) else f", {NO_DIFFERENCE} from 0"
    return f"changes the log-odds of {row['class']} by {in_brackets(row, 'log_odds')}{shown}"


def _on_probability(row: Mapping[str, Any]) -> str:
    """Describe the mean effect on the probability, and the number of groups above LARGE_EFFECT."""
    falls = "falls" if row["log_odds"] < 0 else "rises"
    count = row["clusters"]
    groups = "images" if count == row["images"] else "groups"
    share = f"{falls} by more than {LARGE_EFFECT:g} on {round(row['share_beyond'] * count):,} of {count:,} {groups}"
    interval = f"[{row['share_beyond_low']:.2f}, {row['share_beyond_high']:.2f}]"
    return f"P({row['class']}) changes by {in_brackets(row)} on average, and {share} {interval}"


def _each_picture(run: Run) -> Iterator[Finding]:
    """Finding on the largest effect in each of the first pictures; single images, no interval."""
    samples = read_samples(run.folder)
    names = samples[samples["condition"] == CLEAN].set_index("sample")["name"]
    pictured = samples_in_conditions(run.folder, [CLEAN])[:_PICTURES]
    effects = read_effects(run.folder, pictured)
    effects = effects[effects["condition"] == CLEAN]
    for number, sample in enumerate(pictured):
        of_picture = effects[effects["sample"] == sample]
        if of_picture.empty:
            continue
        of_picture = of_picture[of_picture["class"] == of_picture.loc[of_picture["control"].idxmax(), "class"]]
        row = of_picture.loc[of_picture["effect"].abs().idxmax()]
        size = number_text(abs(row["effect"]), finer(".3f", row["effect"]))
        verb = f"takes {size} off" if row["effect"] < 0 else f"adds {size} to"
        change = f"{verb} P({row['class']}) = {row['control']:.3f}"
        units = f"the largest effect of {len(of_picture):,} units"
        do, fills = _do(run, row["unit"]), ", one fill" if _fill(run) else ""
        text = f"{names[sample]}: {do[:1].lower()}{do[1:]} {change}, {units} (one picture{fills}, no interval)."
        yield finding(f"largest_effect_{number}", text, {"mean": row["effect"]}, 1)


def _masks(run: Run) -> Iterator[Finding]:
    """Finding on evidence inside the mask of the largest effect, paired with its outside and moved masks."""
    summary = run.summary.get("mask_contrasts", [])
    rows = [row for row in summary if row["condition"] == CLEAN and row["inside"] is not None]
    if not rows:
        return
    level = level_of_selected(1, len(rows))
    frame = mask_contrasts(run.folder, level)
    frame = frame[frame["condition"] == CLEAN].astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    row = largest_mask(rows)
    assert row is not None
    among = f"the largest on P of {len(rows):,}, so at {level_text(level)}; " if len(rows) > 1 else ""
    size = {name: number_text(row[name], finer(".3f", row[name])) for name in MASK_PLACES if row[name] is not None}
    do = _do(run, row["mask"])
    what = f"The effect of {do[:1].lower()}{do[1:]} on the log-odds of {row['class']}"
    others = {"moved": "the mask moved elsewhere", "outside": "all outside it"}
    for name, words in others.items():
        column = f"minus_{name}"
        if row[name] is None:
            continue
        log_odds = f"{column}_log_odds"
        is_ = {1: "is larger than", -1: "is smaller than", 0: "is not shown to differ from"}[direction(row, log_odds)]
        images = row[f"{column}_images"]
        number = f"inside minus {name}, in size, {in_brackets(row, log_odds)}"
        text = f"{what} {is_} that of {words} ({among}{number}, paired; n = {images:,} images, "
        sizes = f"inside {size['inside']}, {name} {size[name]}, difference {in_brackets(row, column)}"
        text = f"{text}{row['clusters']:,} groups). On P({row['class']}): {sizes}."
        text += _one_fill(run) + verdict(run, f"{OF_MASK}{column}", row["mask"], row["class"])
        yield finding(f"{OF_MASK}{column}", text, row, images, log_odds)


def _objects(run: Run) -> Iterator[Finding]:
    """Finding on effects of true or painted objects, or of units that cover objects; strongest kind first.

    None of a kind of which there are too few images for an interval.
    """
    name = next((name for name in OBJECT_TABLES if run.summary.get(name)), "")
    column = "difference" if name == "contrasts" else ""
    rows = run.summary[name] if name else effects_over_objects(run.folder).to_dict("records")
    if name and "log_odds" not in rows[0]:  # the summary of an earlier version
        rows = OBJECT_TABLES[name](run.folder).to_dict("records")
    clean = [row for row in rows if row["condition"] == CLEAN and not pd.isna(ends(row, column)[1])]
    if not clean:
        return
    words = {
        "object_effects": "Taking the {kind} away",
        "contrasts": "Painting the {kind}'s box{fill}, beyond boxes of its size elsewhere,",
        "": "Painting the {unit} over the {kind}{fill}" if _fill(run) else "Setting the {unit} over the {kind}",
    }[name]
    unit, fill = "cell" if "rows" in run.config.get("intervention", {}) else "unit", _fill(run)
    shown, clean = largest_of_kinds(clean, read_task(run.folder).opposite)
    among = ""
    if len(clean) > len(shown):  # chosen by the size of their estimates
        level = level_of_selected(len(shown), len(clean))
        wider = OBJECT_TABLES.get(name, effects_over_objects)(run.folder, level).to_dict("records")
        wider_of = {itemgetter(*_KEY)(row): row for row in wider}
        shown = [wider_of[itemgetter(*_KEY)(row)] for row in shown]
        among = f"chosen among {len(clean):,} effects, so at {level_text(level)}; "
    for row in shown:
        do = words.format(kind=row["kind"], unit=unit, fill=f" {fill}" if fill else "")
        probability = f"P({row['class']}) changes by {in_brackets(row, column)} on average"
        text = f"{do} {_change(row)}; {probability} ({among}{images_text(row['images'])})."
        text += ("" if name == "object_effects" else _one_fill(run)) + verdict(
            run, f"{OF_OBJECT}{row['kind']}", row["kind"], row["class"]
        )
        yield finding(f"{OF_OBJECT}{row['kind']}", text, row, row["images"], "log_odds")


def _largest_epsilon(run: Run) -> tuple[str, Mapping[str, Any]] | None:
    """Condition of the largest epsilon with a known success rate, and its numbers."""
    conditions = {name: numbers for name, numbers in run.summary["conditions"].items() if name != CLEAN}
    attacked = {name: numbers for name, numbers in conditions.items() if numbers["success_rate"] is not None}
    return max(attacked.items(), key=lambda item: float(item[1]["eps"])) if attacked else None


def attack_success(run: Run) -> Iterator[Finding]:
    """Finding on the attack's success at its largest epsilon."""
    if (largest := _largest_epsilon(run)) is None:
        return
    name, numbers = largest
    attack = component_name(str(run.config.get("attack", {}).get("_target_", "attack")).rpartition(".")[2])
    rate = {end or "mean": numbers["success_rate"][key] for end, key in _KEYS.items()}
    share = in_brackets(rate, form=".3f")
    eps, counts = name.removeprefix("eps="), counted_images(run)[name]
    attack = f"{attack} at {_norm(run, name, numbers['eps'])} epsilon {eps}"
    if numbers["accuracy"] is None:  # without labels
        text = f"{attack} changes the predicted class of {share} of the images"
    else:
        text = f"{attack} succeeds on {share} of the images that were predicted rightly before"
    images = counts["success_rate"]
    text = f"{text} (n = {images:,} of {numbers['images']:,} images)."
    yield finding("attack_success", text, rate, images)


def _norm(run: Run, condition: str, eps: float) -> str:
    """Norm of the attack's epsilon, from its configuration or else from its perturbations."""
    attack = run.config.get("attack", {})
    for component in (attack, attack.get("attack")):  # that of a transferred attack
        if isinstance(component, Mapping):
            class_name = str(component.get("_target_", "")).rpartition(".")[2]
            if norm := component.get("norm", _NORM_OF.get(class_name)):
                return _NORMS[norm]
    samples = read_samples(run.folder)
    within = samples.loc[samples["condition"] == condition, "l2"].max() <= eps * _ROUNDING
    return _NORMS["l2" if within else "linf"]


def _attack(run: Run) -> Iterator[Finding]:
    """Finding on the attack's success at its largest epsilon, and on whether it raises effects."""
    yield from attack_success(run)
    name, numbers = _largest_epsilon(run) or ("", {"auroc": None})
    eps = name.removeprefix("eps=")
    if numbers["auroc"] is not None:
        area = {end or "mean": numbers["auroc"][key] for end, key in _KEYS.items()}
        how = {1: "larger than", -1: "smaller than", 0: "not shown to differ from"}[direction(area, middle=0.5)]
        images, clean = counted_images(run)[name]["auroc"], run.summary["conditions"][CLEAN]["images"]
        number = f"AUROC {in_brackets(area, form='.3f')}, {_norm(run, name, numbers['eps'])} epsilon {eps}"
        number = f"{number}, n = {images:,} successfully attacked images against {clean:,} clean ones"
        text = f"On successfully attacked images |expected effect| is {how} that on clean ones"
        text = f"{text} ({number}, no control for noise)."
        yield finding("effect_auroc", text, area, images)


def _do(run: Run, unit: str) -> str:
    """Describe the intervention on a unit, such as "Painting cell r2c3 black"."""
    if not (fill := _fill(run)):
        return f"Do({unit})"
    class_name = str(_painting(run).get("_target_", "")).rpartition(".")[2]
    return f"Painting {_PAINTED.get(class_name, '')}{unit} {fill}"


def _fill(run: Run) -> str:
    """Describe a run's fill, such as "black" or "with blur (sigma 8.0)"; empty if it does not paint."""
    fill = _painting(run).get("fill")
    text = component_text(fill) if isinstance(fill, Mapping) else ""
    return f"with {text}" if text and text not in GREYS.values() else text


def _painting(run: Run) -> Mapping[str, Any]:
    """Configuration of a run's intervention, or of that whose edges it controls."""
    intervention: Mapping[str, Any] = run.config.get("intervention", {})
    controlled = str(intervention.get("_target_", "")).endswith(".EdgeControl")
    return intervention["first"] if controlled else intervention


def _beyond_frame(run: Run, row: Mapping[str, Any], level: float) -> str:
    """Sentence on an effect beyond that of the unit's frame alone; empty where no frames were painted."""
    frames = frame_contrasts(run.folder, level)
    chosen = frames[
        (frames["condition"] == CLEAN) & (frames["unit"] == row["unit"]) & (frames["class"] == row["class"])
    ]
    if chosen.empty:
        return ""
    beyond = chosen.iloc[0].to_dict()
    shown = {1: "", -1: "", 0: f", {NO_DIFFERENCE} from 0"}[direction(beyond, "beyond_log_odds")]
    return f" Beyond what its frame alone does, it changes them by {in_brackets(beyond, 'beyond_log_odds')}{shown}."


def _one_fill(run: Run) -> str:
    """Remark that effects can differ between fills."""
    return _ONE_FILL if _fill(run) else ""
