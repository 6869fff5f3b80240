"""Findings of the effects of a run: what the network uses, by objects, masks and zones, and what the attack changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.intervals import Number, spread, withheld
from dovision.results.display_names import GREYS, component_name, component_text, display_name
from dovision.results.finding import (
    Finding,
    direction,
    finding,
    finer_text,
    in_brackets,
    interval_text,
    level_text,
    middle,
    spread_values,
)
from dovision.results.headline_effects import Subject
from dovision.results.image_tables import LEAST, MOST, PLACEBO, RANDOM, SETS_FILE, UNALTERED, read_box_table
from dovision.results.object_effects import touching
from dovision.results.refuters import REFUTATIONS
from dovision.results.run_record import Run
from dovision.results.sentences import (
    ATTACKED,
    FAILED,
    GUESS,
    MOVES,
    NOT_SHOWN,
    PASSED,
    SHOWN,
    UNDECIDED,
    UNMOVED,
    USES,
)
from dovision.results.tables import (
    CLEAN,
    SAMPLES,
    has_rows,
    read_effects,
    read_samples,
    read_task,
    row_groups,
)
from dovision.results.thumbnails import samples_in_conditions
from dovision.results.zone_effects import PREDICTED_CLASS, change_of_effect, units_by_zone
from dovision.types import Box

_TWENTIETH = 20  # of the units, that the sentence on a picture paints
_MIDDLE, _EDGE = 0.1, 0.3  # of a side, from its middle: what lies there, and what lies further out
_PICTURES = 3  # that have a sentence, of images without labels
_LEAST = 0.05  # of a probability, that the median effect of what is used exceeds
_HALF = 0.5  # of the images, in which what is used must lower P; and of P, below which an answer is a guess
_CLEAR = 0.01  # of a probability, that a cell of one picture takes off at least to be named
_WORDS = {2: "two", 4: "four", 6: "six", 8: "eight", 10: "ten"}  # for numbers of cells
_PAINTED = {"PixelGrid": "cell", "SlidingWindow": "window", "Segments": "segment"}  # words for units
_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "spatial": "spatial"}
_NORM_OF = {"EADAttack": "l1", "RandomSpatial": "spatial", "Spatial": "spatial"}  # of attacks that have no other
_ROUNDING = 1 + 1e-4  # of sizes of perturbations, in float32


def use_findings(run: Run, used: Sequence[Subject]) -> Iterator[Finding]:
    """Findings on what the network uses.

    These are masks or objects where they are known, or else zones of the image, or few of the units; of images without
    labels, or of fewer than MIN_IMAGES, the strongest cell of each of the first ones.

    Args:
        run: a completed one.
        used: its subjects.
    """
    if not has_rows(run.folder):
        return
    few = run.summary["conditions"][CLEAN]["images"] < MIN_IMAGES  # of which nothing is an average
    if few or not run.summary["labels"]:
        yield from _each_picture(run)
    else:
        for subject in used:
            yield from _few_units(run, subject) if subject.form == "units" else [_use(run, subject)]


def _use(run: Run, subject: Subject) -> Finding:
    """Finding on a subject. "Uses" needs three: differences to the controls, the share of images, and the median."""
    clean = subject.rows[subject.rows["condition"] == CLEAN]
    row = spread(clean["effect"].to_numpy(float), clean["group"].to_numpy(), subject.level)
    groups = clean.groupby("group")[["effect", "effect_elsewhere"]].mean()
    sign, averages = int(np.sign(row["median"])), subject.row
    beyond = all(direction(averages, name) == (1 if subject.sizes else sign) for name in subject.beyond.values())
    refuters = [verdict(run, name, subject.name, subject.of) for name in subject.headlines]
    refuted = any(fails for fails, _ in refuters)
    is_used = beyond and row["share_low"] > _HALF and abs(row["median"]) > _LEAST and not refuted
    hits = f"{row['hits']:,.0f} of {len(groups):,} {'images' if len(groups) == clean['sample'].nunique() else 'groups'}"
    unit = _unit(run)
    done = subject.done.format(over=_over(run), unit=unit)
    painted = []
    if "covered" in averages:
        cells = f"{averages['cells']:.3g} {unit}s in one do(), on median"
        painted = [("painted of it", f"{averages['covered']:.0%}, by {cells}")]
    words = {"done": done, "label": subject.label, "moves": MOVES[sign], "hits": hits}
    number = Number(row["median"], row["median_low"], row["median_high"], len(groups), "", "few groups")
    result = finding(
        USES,
        subject.form,
        SHOWN if is_used and sign else NOT_SHOWN if sign else UNMOVED,
        subject.name,
        number,
        middle(groups["effect_elsewhere"]),
        **words,
    )
    share = Number(row["hits"] / max(len(groups), 1), row["share_low"], row["share_high"], len(groups), "", "")
    detail = [
        (f"share where P {words['moves']}", f"{hits}, {interval_text(share, '.2f')}"),
        ("median change of P", interval_text(number, "+.3f")),
        ("range", f"{finer_text(row['least'], '+.3f')} to {finer_text(row['most'], '+.3f')}"),
        *((text, in_brackets(averages, name)) for text, name in subject.means.items()),
        *painted,
        *(
            (f"log-odds, {text}", interval_text(Number.of(averages, name), "+.3f"))
            for text, name in subject.beyond.items()
        ),
        ("level of the intervals", level_text(subject.level)),
        ("fill", fill_of(run) or "none"),
        *(("refuters", text) for _, text in refuters if text),
    ]
    dots = {"subject": groups["effect"], "control": groups["effect_elsewhere"]}
    return result._replace(
        spread={name: spread_values(values) for name, values in dots.items()}
        | {"axis": f"change of P({subject.label})", "names": [subject.name, "elsewhere in the same images"]},
        picture=_picture(run, subject.units, row["median"]),
        detail=detail,
    )


def _picture(run: Run, units: pd.DataFrame, value: float, condition: str = CLEAN) -> dict[str, Any]:
    """The unit with a picture whose effect is the nearest to a value: its image, and P before and after.

    `nearest` is the clean image that is the nearest of all.
    """
    units = units[units["condition"] == condition].reset_index(drop=True)
    order = (units["effect"] - value).abs().sort_values(kind="stable").index
    has_picture = units["sample"].isin(samples_in_conditions(run.folder, [CLEAN, condition]))
    nearest = {"nearest": int(units.loc[order[0], "sample"])} if len(order) and condition == CLEAN else {}
    if not has_picture.any():
        return nearest
    sample, unit, label = units.loc[order[has_picture[order].to_numpy()][0], ["sample", "unit", "class"]]
    effects = read_effects(run.folder, [sample])
    effects = effects[(effects["condition"] == condition) & (effects["class"] == label)]
    rows = boxes = effects[effects["unit"] == unit]
    if rows.empty:  # a set of units
        sets = SETS_FILE.read(run.folder, [sample])
        rows = sets[(sets["condition"] == condition) & (sets["set"] == unit) & (sets["class"] == label)]
        boxes = touching(effects, read_box_table(run.folder).query("sample == @sample and object == @unit").iloc[0])
    before, after = rows[["control", "treated"]].to_numpy(float)[0].tolist()
    return nearest | {"condition": condition, "unit": unit} | _painted(sample, label, boxes, before, after)


def _painted(sample: int, label: str, boxes: pd.DataFrame, before: float, after: float) -> dict[str, Any]:
    """The picture of an image with these boxes painted, of units with a place; P before and after."""
    edges = boxes[[*Box._fields]].dropna().to_numpy(int)
    painted = edges.tolist()
    if len(edges) and (around := Box(*edges[:, :2].min(0), *edges[:, 2:].max(0))).area == sum(
        Box(*one).area for one in painted
    ):
        painted = [[int(edge) for edge in around]]  # cells that fill a rectangle
    return {"sample": int(sample), "label": str(label), "before": before, "after": after, "painted": painted}


def _few_units(run: Run, subject: Subject) -> Iterator[Finding]:
    """Finding on how many units have most of the effects, on images that did not choose them."""
    row = subject.row
    if pd.isna(row["share"]):
        return
    equal = row["few"] / row["units"]
    ((fails, refuters),) = (verdict(run, name, subject.name, subject.of) for name in subject.headlines)
    is_shown = direction(row, "share", equal) > 0 and not fails
    number = Number.of(row, "median")._replace(n=row["clusters"])
    result = finding(USES, "units", SHOWN if is_shown else NOT_SHOWN, f"{row['few']} of {row['units']}", number)
    detail = [
        ("mean share", f"{in_brackets(row, 'share', '.3f')}; {equal:.2f} if all units mattered alike"),
        ("the strongest", str(row["unit"])),
        ("its log-odds", in_brackets(row, "log_odds_effect")),
        ("its mean change of P", in_brackets(row, "effect")),
        ("images", f"{row['images']:,}"),
        *([("refuters", refuters)] if refuters else []),
    ]
    yield result._replace(detail=detail)


def _each_picture(run: Run) -> Iterator[Finding]:
    """Finding on the strongest cell of each of the first pictures; no interval."""
    samples = read_samples(run.folder)
    samples = samples[samples["condition"] == CLEAN].set_index("sample")
    units = units_by_zone(run.folder)
    units = units[(units["condition"] == CLEAN) & (units["of"] == PREDICTED_CLASS)]
    has_sets = (run.folder / SETS_FILE).is_file()
    classes = read_task(run.folder).classes
    for sample in samples_in_conditions(run.folder, [CLEAN])[:_PICTURES]:
        rows = units[units["sample"] == sample]
        if len(rows) < 2:
            continue
        rows = rows[rows["class"] == rows.loc[rows["control"].idxmax(), "class"]].sort_values("effect", kind="stable")
        row, curve = rows.iloc[0], _curve(run.folder, sample, len(rows)) if has_sets else {}
        before, after = float(row["control"]), float(row["control"] + row["effect"])
        p = pd.Series(_probabilities(run, CLEAN, [sample])[sample], classes).drop(row["class"])
        words = {"label": row["class"], "done": _over(run), "unit": _unit(run), "rival": ""}
        form, state, at = "picture", SHOWN if row["effect"] <= -_CLEAR else NOT_SHOWN, curve.get("at", 0)
        painted = rows.iloc[: curve["cells"][at] if curve else 1]
        if curve:
            draws = [draw[at] for draw in curve[RANDOM]]
            form, after = "cells", curve[MOST][at]
            state = SHOWN if before - after > _LEAST and after < min(draws) else NOT_SHOWN
            words["cells"] = f"{_WORDS.get(len(painted), len(painted))} {_unit(run)}s"
        numbers = [after, before]
        if before < _HALF and len(p):
            form, state, words["rival"], numbers = "picture", GUESS, str(p.idxmax()), [before, p.max()]
        number, control = (withheld(float(value), 1, "one picture") for value in numbers)
        result = finding(USES, form, state, samples.loc[sample, "name"], number, control, **words)
        strong = rows["effect"] <= -_CLEAR
        detail = [
            (f"{_unit(run)}s that take more than {_CLEAR}", f"{strong.sum():,} of {len(rows):,}, each alone"),
            ("fill", fill_of(run) or "none"),
        ]
        if curve:
            ends = f"{np.mean(draws):.2f}, from {min(draws):.2f} to {max(draws):.2f}, in {len(draws)} draws"
            detail += [("P after as many at random", ends), ("P after those of least", f"{curve[LEAST][at]:.2f}")]
        position = place_text(painted, rows)
        picture = {
            "condition": CLEAN,
            "unit": str(row["unit"]),
            "place": position,
            "curve": curve and curve | {"before": before},
        }
        picture |= _painted(sample, row["class"], painted, before, after)
        yield result._replace(picture=picture, detail=[*detail, ("where they lie", position)])


def _curve(folder: Path, sample: int, units: int) -> dict[str, Any]:
    """P after so many cells: of most and of least evidence, and a list each draw of random ones; empty without.

    `at` is the place of the first number of cells that is a twentieth of the units, and several.
    """
    rows = SETS_FILE.read(folder, [sample])
    rows = rows[rows["set"].isin([MOST, LEAST, RANDOM])]
    p = rows.pivot_table("treated", ["set", "draw"], "cells", observed=True).dropna(axis=1)
    cells = [int(size) for size in p]
    at = next((number for number, size in enumerate(cells) if size >= max(2, units / _TWENTIETH)), None)
    if at is None:
        return {}
    most, least = (p.loc[name].iloc[0].astype(float).tolist() for name in (MOST, LEAST))
    return {"cells": cells, "at": at, MOST: most, LEAST: least, RANDOM: p.loc[RANDOM].to_numpy(float).tolist()}


def place_text(boxes: pd.DataFrame, units: pd.DataFrame) -> str:
    """Where the middle of some boxes lies in the image that units cover, such as "lower left of the middle"."""
    shares = [
        (boxes[a] + boxes[b]).mean() / (2 * units[b].max()) - 0.5 for a, b in (("top", "bottom"), ("left", "right"))
    ]
    down, across = (0 if abs(share) <= _MIDDLE else int(np.sign(share)) for share in shares)  # -1, 0 or 1
    is_far = max(map(abs, shares)) > _EDGE
    if not across:
        near, far = {-1: ("above", "at the top"), 0: ("in", ""), 1: ("below", "at the bottom")}[down]
        return far if is_far else f"{near} the middle"
    text = {-1: "upper ", 0: "", 1: "lower "}[down] + ("left" if across < 0 else "right")
    return f"at the {text}" if is_far else f"{text} of the middle"


def attack_findings(run: Run, used: Sequence[Subject]) -> Iterator[Finding]:
    """Findings on the attack at its largest epsilon: its success, and the change of the effects that are used."""
    yield from attack_success(run)
    if (largest := _largest_epsilon(run)) is None:
        return
    condition, _ = largest
    for subject in used[:1]:
        if "log_odds_effect" in subject.rows:
            for one in change_finding(subject, condition):
                yield one._replace(picture=_picture(run, subject.units, one.number.value, condition))


def change_finding(subject: Subject, condition: str) -> Iterator[Finding]:
    """Finding on the change of a subject's effect in a condition, of one that is shown when clean."""
    row = change_of_effect(subject.rows, condition, subject.level)
    if row is None or not (sign := direction(row, "clean")):
        return
    effects = subject.rows.pivot_table("effect", "group", "condition", observed=True)[[CLEAN, condition]].dropna()
    change = direction(row, "change") * sign
    less = "reversed" if direction(row, "attacked") == -sign else "less"
    clean, attacked = middle(effects[CLEAN]), middle(effects[condition])
    result = finding(ATTACKED, "change", {1: "more", -1: less, 0: NOT_SHOWN}[change], subject.name, attacked, clean)
    detail = [(f"log-odds, {name}", in_brackets(row, name)) for name in ("clean", "attacked", "change")]
    detail += [("paired images", f"{row['images']:,}"), ("level of the intervals", level_text(subject.level))]
    dots = {"subject": spread_values(effects[condition]), "control": spread_values(effects[CLEAN])}
    names = {"axis": f"change of P({subject.label})", "names": [f"{subject.name}, attacked", "the same, clean"]}
    yield result._replace(detail=detail, spread=dots | names)


def attack_success(run: Run) -> Iterator[Finding]:
    """Finding on the attack's success at its largest epsilon."""
    if (largest := _largest_epsilon(run)) is None:
        return
    condition, numbers = largest
    samples = read_samples(run.folder)
    rows = samples[samples["condition"] == condition].set_index("sample")
    rows = rows[rows["success"].notna()]
    won = rows.index[rows["success"] == 1]
    number = Number.of(numbers["success_rate"], "estimate")._replace(n=len(rows))
    attack = run.config.get("attack", {})
    name = component_name(attack.get("method", str(attack.get("_target_", "attack")).rpartition(".")[2]))
    subject = f"{name} at {epsilon_text(norm_of(run, condition), condition.removeprefix('eps='))}"
    words = {"hits": f"{len(won):,} of {len(rows):,}", "images": f"{len(rows):,}"}
    state = "unlabelled" if numbers["accuracy"] is None else SHOWN if len(won) else UNMOVED
    result = finding(ATTACKED, "attack", state, subject, number, **words)._replace(name="attack_success")
    detail = [("share", interval_text(number)), ("images", f"{numbers['images']:,}")]
    answers = samples[samples["condition"] == CLEAN].set_index("sample")["prediction"]
    if len(rows) == 0 or np.ndim(answers.iloc[0]):  # several answers of an image
        yield result._replace(detail=detail)
        return
    before, after = (
        pd.Series({sample: p[answers[sample]] for sample, p in _probabilities(run, name, rows.index).items()})
        for name in (CLEAN, condition)
    )
    picture: dict[str, Any] = {}
    for sample in [one for one in samples_in_conditions(run.folder, [CLEAN, condition]) if one in won][:1]:
        label = read_task(run.folder).classes[int(answers[sample])]
        numbers = {"before": float(before[sample]), "after": float(after[sample])}
        picture = {"sample": int(sample), "condition": condition, "unit": "", "label": label, **numbers}
    dots = {"subject": spread_values(after), "control": spread_values(before)}
    names = {"axis": "P of the answer before the attack", "names": ["attacked", "the same images, clean"]}
    yield result._replace(detail=detail, picture=picture, spread=dots | names)


def _probabilities(run: Run, condition: str, samples: Collection[int]) -> dict[int, Any]:
    """P of each class in a condition, by sample."""
    columns = ["sample", "condition", "probabilities"]
    result: dict[int, Any] = {}
    for table in row_groups(run.folder / SAMPLES, columns, samples):
        rows = table.to_pandas()
        rows = rows[(rows["condition"] == condition) & rows["sample"].isin(samples)]
        result |= dict(zip(rows["sample"], rows["probabilities"], strict=True))
    return result


def epsilon_text(norm: str, eps: str) -> str:
    """Format an epsilon, such as "4 grey levels" for 4/255 in Linf, or "L2 epsilon 0.5"."""
    levels = re.fullmatch(r"(\d+)/255", eps) if norm == _NORMS["linf"] else None
    return f"{levels[1]} grey level{'s' * (levels[1] != '1')}" if levels else f"{norm} epsilon {eps}"


def _largest_epsilon(run: Run) -> tuple[str, Mapping[str, Any]] | None:
    """Condition of the largest epsilon with a known success rate, and its numbers."""
    conditions = {name: numbers for name, numbers in run.summary["conditions"].items() if name != CLEAN}
    attacked = {name: numbers for name, numbers in conditions.items() if numbers["success_rate"] is not None}
    return max(attacked.items(), key=lambda item: float(item[1]["eps"])) if attacked else None


def norm_of(run: Run, condition: str) -> str:
    """Norm of the epsilon of an attacked condition, from its configuration or else from its perturbations."""
    attack = run.config.get("attack", {})
    class_name = str(attack.get("_target_", "")).rpartition(".")[2]
    if norm := attack.get("norm", _NORM_OF.get(attack.get("method", class_name))):
        return _NORMS[norm]
    samples, eps = read_samples(run.folder), float(run.summary["conditions"][condition]["eps"])
    within = samples.loc[samples["condition"] == condition, "l2"].max() <= eps * _ROUNDING
    return _NORMS["l2" if within else "linf"]


def condition_head(run: Run, condition: str) -> str:
    """Display name of a condition, with the norm of its epsilon."""
    return condition if condition == CLEAN else f"{norm_of(run, condition)} {display_name(condition)}"


def _unit(run: Run) -> str:
    return _PAINTED.get(str(_painting(run).get("_target_", "")).rpartition(".")[2], "unit")


def _over(run: Run) -> str:
    """What is done to a thing, before its name, such as "black over" or "setting"."""
    fill = _painting(run).get("fill")
    if not isinstance(fill, Mapping):
        return "setting"
    word = component_name(str(fill.get("_target_", "")).rpartition(".")[2])
    return f"{GREYS.get(fill.get('value', -1), 'grey') if word == 'constant' else word} over"


def grey_level(run: Run) -> int | None:
    """8-bit grey of a run's fill, where it is one value; None otherwise."""
    fill = _painting(run).get("fill")
    value = fill.get("value") if isinstance(fill, Mapping) else None
    return round(255 * value) if isinstance(value, int | float) else None


def fill_of(run: Run) -> str:
    """Describe a run's fill, such as "black" or "blur (sigma 8.0)"; empty if it does not paint."""
    fill = _painting(run).get("fill")
    return component_text(fill) if isinstance(fill, Mapping) else ""


def _painting(run: Run) -> Mapping[str, Any]:
    """Configuration of a run's intervention, or of that whose edges it controls."""
    intervention: Mapping[str, Any] = run.config.get("intervention", {})
    controlled = str(intervention.get("_target_", "")).endswith(".EdgeControl")
    return intervention["first"] if controlled else intervention


def verdict(run: Run, headline: str, subject: str, label: str) -> tuple[bool, str]:
    """Whether a headline fails a refuter, and what each of its refuters says; empty where none were measured."""
    frame = pd.DataFrame(run.summary.get("refutations", []), columns=REFUTATIONS)
    of_headline = (frame["headline"] == headline) & (frame["subject"] == subject) & (frame["class"] == label)
    frame = frame[of_headline & (frame["refuter"] != UNALTERED)]
    words = frame["passed"].map({True: PASSED, False: FAILED}).fillna(UNDECIDED)
    texts = []
    for row, word in zip(frame.to_dict("records"), words, strict=True):
        vanishes = row["refuter"] == PLACEBO and not pd.isna(row["share"])  # at most half of it should be left
        left = f", {row['share']:.0%} left" if vanishes else ""
        texts.append(f"{row['refuter']} {word} ({in_brackets(row, 'estimate')}{left})")
    return bool((frame["passed"] == False).any()), "; ".join(texts)  # noqa: E712, where None is not decided
