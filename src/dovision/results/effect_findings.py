"""Findings of the effects of a run: what the network uses, by objects, masks and zones, and what the attack changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any

import pandas as pd

from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import level_of_selected
from dovision.results import sentences
from dovision.results.display_names import GREYS, component_name, component_text
from dovision.results.finding import (
    Finding,
    direction,
    finding,
    finer_text,
    images_text,
    in_brackets,
    level_text,
    spread_text,
)
from dovision.results.headline_effects import (
    OBJECT_TABLES,
    OF_MASK,
    OF_OBJECT,
    OF_UNIT,
    OF_ZONE,
    strongest_mask,
    strongest_objects,
)
from dovision.results.headline_numbers import counted_images
from dovision.results.map_findings import at_chance
from dovision.results.object_effects import effects_over_objects, object_rows, units_over_objects
from dovision.results.refuter_findings import verdict
from dovision.results.run_record import Run
from dovision.results.sentences import ATTACKED, REFUTED, USES
from dovision.results.tables import CLEAN, has_rows, read_groups, read_samples, read_task
from dovision.results.thumbnails import samples_in_conditions
from dovision.results.zone_effects import (
    PREDICTED_CLASS,
    TRUE_CLASS,
    change_of_effect,
    few_units,
    strongest_zone,
    units_by_zone,
    zone_rows,
)

_KEY = ["condition", "kind", "class"]
_PICTURES = 3  # that have a sentence, of images without labels
_PAINTED = {"PixelGrid": "cell", "SlidingWindow": "window", "Segments": "segment"}  # words for units
_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "spatial": "spatial"}
_NORM_OF = {"EAD": "l1", "RandomSpatial": "spatial", "Spatial": "spatial"}  # of attacks that have no other
_ROUNDING = 1 + 1e-4  # of sizes of perturbations, in float32
_CLEAR = 0.01  # of a probability, that a cell of one picture takes off at least to be named
_SHARE_NAMED = 0.5  # of the largest effect of a picture, from which on cells in its zone are named with it
_NUMBERS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_OVERLAY = "overlay"


def use_findings(run: Run) -> Iterator[Finding]:
    """Findings on what the network uses.

    These are masks or objects where they are known, or else zones of the image, or few of the units; of images without
    labels, or of fewer than MIN_IMAGES, some cells of each of the first ones.
    """
    if not has_rows(run.folder):
        return
    few = run.summary["conditions"][CLEAN]["images"] < MIN_IMAGES  # of which nothing is an average
    if few or not run.summary["labels"]:
        yield from _each_picture(run)
    else:
        yield from [*_masks(run)] or [*_objects(run)] or [*_zone(run)] or [*_few_units(run)]


def _network(run: Run) -> str:
    return sentences.NETWORK if at_chance(run) is None else sentences.GUESSING


def _zone(run: Run) -> Iterator[Finding]:
    """Finding on the zone whose units lower the true class most, against units elsewhere in the same images."""
    strongest = strongest_zone(zone_rows(units_by_zone(run.folder), read_groups(run.folder)))
    if strongest is None:
        return
    zone, means = strongest
    row, *others = means.to_dict("records")
    values = {"network": _network(run), "zone": zone, "unit": _unit(run), "done": _done(run)}
    values |= {"label": _label(run, row["of"]), "odds": _odds_of(run, row["of"]), "where": _where(zone)}
    if not (row["log_odds_effect"] or row["log_odds_beyond"]):
        text = sentences.NOTHING.format(**values, count=images_text(row["images"]))
        yield finding(OF_ZONE, text, row, row["images"], "log_odds_effect", USES, _OVERLAY)
        return
    shown = direction(row, "log_odds_effect") < 0 and direction(row, "log_odds_beyond") < 0
    values |= {"size": _size(row, "log_odds_effect") if shown else in_brackets(row, "log_odds_effect")}
    values |= {"beyond": _size(row, "log_odds_beyond") if shown else in_brackets(row, "log_odds_beyond")}
    counted = images_text(row["images"], row["clusters"])
    values |= {"count": sentences.STRONGEST_ZONE.format(level=level_text(row["level"])) + counted}
    values |= {"spread": spread_text(row, values["label"])}
    effects = [
        {"there": in_brackets(of, "effect"), "elsewhere": finer_text(of["effect_elsewhere"], "+.3f")}
        for of in (row, *others)
    ]
    predicted = sentences.ZONE_PREDICTED.format(**effects[1]) if len(effects) > 1 and row["of"] == TRUE_CLASS else ""
    refuted = verdict(run, OF_ZONE, zone, TRUE_CLASS)
    values |= {"uses": sentences.NOT_USED if refuted.startswith(REFUTED) else sentences.USED, "predicted": predicted}
    text = (sentences.ZONE if shown else sentences.NO_ZONE).format(**values, **effects[0])
    if not pd.isna(row["beyond_frame"]):
        text += sentences.BEYOND_FRAME.format(frame=in_brackets(row, "beyond_frame"))
    yield finding(OF_ZONE, text + refuted, row, row["images"], "log_odds_effect", USES, _OVERLAY)


def _few_units(run: Run) -> Iterator[Finding]:
    """Finding on how many units have most of the effects, and on the strongest, on images that did not choose them."""
    row = few_units(run.folder)
    if row is None or pd.isna(row["share"]):
        return
    numbers = {"share": in_brackets(row, "share", ".3f"), "equal": row["few"] / row["units"]}
    numbers |= {"size": in_brackets(row, "log_odds_effect"), "effect": in_brackets(row, "effect")}
    names = {"network": _network(run), "label": _label(run, row["of"]), "odds": _odds_of(run, row["of"])}
    relies = direction(row, "share", numbers["equal"]) > 0
    names |= {"count": images_text(row["images"], row["clusters"]), "spread": spread_text(row, names["label"])}
    names |= {"relies": sentences.RELIES if relies else sentences.NOT_RELIES}
    text = sentences.FEW_UNITS.format(**{name: row[name] for name in ("few", "units", "unit")}, **numbers, **names)
    text += verdict(run, OF_UNIT, row["unit"], TRUE_CLASS)
    yield finding(OF_UNIT, text, row, row["images"], "share", USES, "average_effects")


def _label(run: Run, of: str) -> str:
    """Class of an average over images: the only one that is judged, or the true or predicted one of each image."""
    task = read_task(run.folder)
    return of if task.opposite is None else task.classes[1]


def _odds_of(run: Run, of: str) -> str:
    label = _label(run, of)
    return f"the {label}" if label == of else label


def _where(zone: str) -> str:
    return sentences.WHERE.get(zone, f"in the {zone}")


def _size(row: Mapping[str, Any], column: str) -> str:
    """Format the size of an effect whose interval has one sign, such as "1.200 [0.900, 1.500]"."""
    if not direction(row, column):
        return in_brackets(row, column)
    low, high = sorted(abs(row[f"{column}_{end}"]) for end in ("low", "high"))
    return in_brackets({"mean": abs(row[column]), "low": low, "high": high}, form=".3f")


def _each_picture(run: Run) -> Iterator[Finding]:
    """Finding on the strongest cells of each of the first pictures, beside its other cells; no interval."""
    samples = read_samples(run.folder)
    names = samples[samples["condition"] == CLEAN].set_index("sample")["name"]
    units = units_by_zone(run.folder)
    units = units[(units["condition"] == CLEAN) & (units["of"] == PREDICTED_CLASS)]
    for number, sample in enumerate(samples_in_conditions(run.folder, [CLEAN])[:_PICTURES]):
        rows = units[units["sample"] == sample]
        if len(rows) < 2:
            continue
        rows = rows[rows["class"] == rows.loc[rows["control"].idxmax(), "class"]].sort_values("effect")
        first, values = rows.iloc[0], {"name": names[sample], "done": _done(run), "unit": _unit(run)}
        near = (rows["zone"] == first["zone"]) & (rows["effect"] <= _SHARE_NAMED * first["effect"])
        chosen = rows[near]
        values |= {"where": _where(first["zone"]), "label": first["class"], "control": f"{first['control']:.3f}"}
        if first["effect"] > -_CLEAR or near.all():
            text = sentences.NO_CELLS_OF_PICTURE.format(**values, size=f"{max(-first['effect'], _CLEAR):.2f}")
        else:
            count = len(chosen)
            cells = f"{_NUMBERS[count] if count < len(_NUMBERS) else count} {_unit(run)}{'s' * (count > 1)}"
            least, most = (finer_text(-size, ".2f") for size in (chosen["effect"].max(), first["effect"]))
            take = f"takes {most}" if count == 1 else f"take {least} to {most} each"
            values |= {"cells": cells, "take": take, "rest": len(rows) - count}
            elsewhere = finer_text(rows.loc[~near, "effect"].mean(), "+.3f")
            text = sentences.CELLS_OF_PICTURE.format(**values, elsewhere=elsewhere)
        yield finding(f"picture_{number}", text, {"mean": first["effect"]}, 1, "mean", USES, _OVERLAY)


def _masks(run: Run) -> Iterator[Finding]:
    """Finding on evidence inside the mask of the largest effect, paired with its outside and moved masks."""
    if not run.summary.get("mask_contrasts") or (strongest := strongest_mask(run.folder)) is None:
        return
    row, level, several = strongest
    among = sentences.MASK_AMONG.format(count=several, level=level_text(level)) if several > 1 else ""
    for name, (other, where) in sentences.MASK_OTHERS.items():
        column = f"minus_{name}"
        if pd.isna(row[name]):
            continue
        log_odds, images = f"{column}_log_odds", row[f"{column}_images"]
        refuted = verdict(run, f"{OF_MASK}{column}", row["mask"], row["class"])
        used = 0 if refuted.startswith(REFUTED) else direction(row, log_odds)
        text = sentences.MASK.format(
            uses=sentences.MASK_USES[used].format(mask=row["mask"], other=other),
            network=_network(run),
            label=row["class"],
            done=_done(run),
            difference=in_brackets(row, log_odds),
            count=f"{among}{images_text(images, row['clusters'])}",
            spread=spread_text(row, row["class"]),
            outer=finer_text(row[f"effect_{name}"], "+.3f"),
            where=where,
            probability=in_brackets(row, column),
        )
        yield finding(f"{OF_MASK}{column}", text + refuted, row, images, log_odds, USES, "mask_contrasts")


def _objects(run: Run) -> Iterator[Finding]:
    """Finding on effects of true or painted objects, or of units that cover objects; strongest kind first.

    None of a kind of which there are too few images for an interval.
    """
    name, shown, candidates = strongest_objects(run.folder, run.summary)
    if not shown:
        return
    column = "difference" if name == "contrasts" else "mean"
    fill, unit = fill_of(run), _unit(run)
    doing, figure = {
        "object_effects": (sentences.TRUE_OBJECT, "object_effects"),
        "contrasts": (sentences.PAINTED_BOX.format(fill=f" {fill}" if fill else ""), "box_against_control"),
        "": (sentences.PAINTED_UNIT.format(unit=unit, done=_done(run)), _OVERLAY),
    }[name]
    among = ""
    if candidates > len(shown):  # chosen by the size of their estimates
        level = level_of_selected(len(shown), candidates)
        wider = OBJECT_TABLES.get(name, effects_over_objects)(run.folder, level).to_dict("records")
        wider_of = {itemgetter(*_KEY)(row): row for row in wider}
        shown = [wider_of[itemgetter(*_KEY)(row)] for row in shown]
        among = sentences.CHOSEN_AMONG.format(count=candidates, level=level_text(level))
    for row in shown:
        beyond = not name  # of units, which cover more than the object
        sign = direction(row, "log_odds")
        refuted = verdict(run, f"{OF_OBJECT}{row['kind']}", row["kind"], row["class"])
        used = sign and (not beyond or direction(row, "log_odds_beyond") == sign) and not refuted.startswith(REFUTED)
        control = ""
        if beyond and used:
            control = sentences.BEYOND_UNITS.format(beyond=_size(row, "log_odds_beyond"), unit=unit)
        elif beyond:
            missing = pd.isna(row["log_odds_beyond"])
            template = sentences.NO_UNITS_BEYOND if missing else sentences.MINUS_UNITS
            control = template.format(beyond=in_brackets(row, "log_odds_beyond"), unit=unit)
        text = sentences.OBJECT.format(
            network=_network(run),
            uses=sentences.USED if used else sentences.NOT_USED,
            object=row["kind"],
            doing=doing,
            change=sentences.CHANGE_VERBS[sign],
            size=_size(row, "log_odds"),
            control=control,
            label=row["class"],
            spread=spread_text(row, row["class"]),
            probability=in_brackets(row, column),
            count=f"{among}{images_text(row['images'], row['clusters'])}",
        )
        yield finding(f"{OF_OBJECT}{row['kind']}", text + refuted, row, row["images"], "log_odds", USES, figure)


def attack_findings(run: Run) -> Iterator[Finding]:
    """Findings on the attack at its largest epsilon: its success, and the change of the effects that are used."""
    yield from attack_success(run)
    if (largest := _largest_epsilon(run)) is None or not has_rows(run.folder):
        return
    condition, numbers = largest
    attack = _attack_text(run, condition)
    if run.summary["labels"] and (subject := _subject(run, condition)) is not None:
        rows, level, among, names = subject
        row = change_of_effect(rows, condition, level)
        if row is not None and (sign := direction(row, "clean")):
            weaker = sentences.REVERSED if direction(row, "attacked") == -sign else sentences.WEAKER
            words = {1: sentences.STRONGER, -1: weaker, 0: sentences.AS_BEFORE}
            texts = {name: in_brackets(row, name) for name in ("clean", "attacked", "change")}
            texts |= {"attack": attack, "verdict": words[direction(row, "change") * sign]}
            text = sentences.CHANGED.format(**texts, **names, count=f"{among}{images_text(row['images'])}")
            yield finding("attack_change", text, row, row["images"], "change", ATTACKED, "effect_spread")
    if numbers["auroc"] is not None and numbers["auroc_paired"] is not None:
        paired = numbers["auroc_paired"]
        areas = {"paired": paired, "area": numbers["auroc"], "twins": numbers["auroc_twins"]}
        texts = {name: in_brackets(area, "estimate", ".3f") for name, area in areas.items()}
        how = sentences.AUROC_HOW[direction(paired, "estimate", 0.5)]
        images, clean = counted_images(run)[condition]["auroc"], run.summary["conditions"][CLEAN]["images"]
        count = sentences.AUROC_COUNT.format(images=images, clean=clean)
        text = sentences.AUROC.format(**texts, how=how, attack=attack, count=count)
        yield finding("effect_auroc", text, paired, images, "estimate", ATTACKED, "effect_spread")


def _subject(run: Run, condition: str) -> tuple[pd.DataFrame, float, str, dict[str, str]] | None:
    """The first object, or else the zone, that `use_findings` names; None of masks, and of units without a position.

    Its effects by image, the level at which the interval of the strongest of so many holds, the words for that, and for
    the subject and the class.
    """
    if run.summary.get("mask_contrasts"):
        return None
    _, shown, candidates = strongest_objects(run.folder, run.summary)
    if shown:
        name, label, level = shown[0]["kind"], shown[0]["class"], level_of_selected(1, candidates)
        rows = object_rows(run.folder)
        rows = rows[~rows["control"].astype(bool)] if len(rows) else rows
        if rows.empty:
            rows = pd.concat([units_over_objects(run.folder, chosen) for chosen in (CLEAN, condition)])
        among = sentences.CHOSEN_AMONG.format(count=candidates, level=level_text(level)) if candidates > 1 else ""
        rows = rows[(rows["kind"] == name) & (rows["class"] == label)]
        return rows, level, among, {"subject": f"the {name}", "odds": label}
    rows = zone_rows(units_by_zone(run.folder), read_groups(run.folder))
    if (strongest := strongest_zone(rows)) is None:
        return None
    zone, means = strongest
    of, level = str(means["of"].iloc[0]), float(means["level"].iloc[0])
    chosen = rows[(rows["zone"] == zone) & (rows["of"] == of)]
    among = sentences.STRONGEST_ZONE.format(level=level_text(level))
    return chosen, level, among, {"subject": f"a {_unit(run)} {_where(zone)}", "odds": _odds_of(run, of)}


def attack_success(run: Run) -> Iterator[Finding]:
    """Finding on the attack's success at its largest epsilon."""
    if (largest := _largest_epsilon(run)) is None:
        return
    name, numbers = largest
    rate, images = numbers["success_rate"], counted_images(run)[name]["success_rate"]
    template = sentences.SUCCESS_UNLABELLED if numbers["accuracy"] is None else sentences.SUCCESS
    text = template.format(
        attack=_attack_text(run, name),
        share=in_brackets(rate, "estimate", ".3f"),
        count=f"n = {images:,} of {numbers['images']:,} images",
    )
    yield finding("attack_success", text, rate, images, "estimate", ATTACKED, "effect_against_epsilon")


def _attack_text(run: Run, condition: str) -> str:
    attack = component_name(str(run.config.get("attack", {}).get("_target_", "attack")).rpartition(".")[2])
    norm = norm_of(run, condition)
    return sentences.ATTACK.format(attack=attack, norm=norm, eps=condition.removeprefix("eps="))


def _largest_epsilon(run: Run) -> tuple[str, Mapping[str, Any]] | None:
    """Condition of the largest epsilon with a known success rate, and its numbers."""
    conditions = {name: numbers for name, numbers in run.summary["conditions"].items() if name != CLEAN}
    attacked = {name: numbers for name, numbers in conditions.items() if numbers["success_rate"] is not None}
    return max(attacked.items(), key=lambda item: float(item[1]["eps"])) if attacked else None


def norm_of(run: Run, condition: str) -> str:
    """Norm of the epsilon of an attacked condition, from its configuration or else from its perturbations."""
    attack = run.config.get("attack", {})
    for component in (attack, attack.get("attack")):  # that of a transferred attack
        if isinstance(component, Mapping):
            class_name = str(component.get("_target_", "")).rpartition(".")[2]
            if norm := component.get("norm", _NORM_OF.get(class_name)):
                return _NORMS[norm]
    samples, eps = read_samples(run.folder), float(run.summary["conditions"][condition]["eps"])
    within = samples.loc[samples["condition"] == condition, "l2"].max() <= eps * _ROUNDING
    return _NORMS["l2" if within else "linf"]


def _unit(run: Run) -> str:
    return _PAINTED.get(str(_painting(run).get("_target_", "")).rpartition(".")[2], "unit")


def _done(run: Run) -> str:
    """Describe what is done to a unit, such as "painted black" or "set"."""
    return f"painted {fill}" if (fill := fill_of(run)) else "set"


def fill_of(run: Run) -> str:
    """Describe a run's fill, such as "black" or "with blur (sigma 8.0)"; empty if it does not paint."""
    fill = _painting(run).get("fill")
    text = component_text(fill) if isinstance(fill, Mapping) else ""
    return f"with {text}" if text and text not in GREYS.values() else text


def _painting(run: Run) -> Mapping[str, Any]:
    """Configuration of a run's intervention, or of that whose edges it controls."""
    intervention: Mapping[str, Any] = run.config.get("intervention", {})
    controlled = str(intervention.get("_target_", "")).endswith(".EdgeControl")
    return intervention["first"] if controlled else intervention
