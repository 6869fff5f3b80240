"""Findings of the maps of explainers: the best effect map against Grad-CAM and integrated gradients, paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.functional.intervals import Number, level_of_selected, withheld
from dovision.results.display_names import METRIC_HEADS, component_name
from dovision.results.explanation_metrics import agreements
from dovision.results.finding import Finding, direction, finding, in_brackets, level_text, middle, spread_values
from dovision.results.image_tables import CONTENT, MAPS_FILE
from dovision.results.map_summary import map_difference
from dovision.results.run_record import Run
from dovision.results.sentences import AUROC_ALONE, AUROC_OF_LABEL, BALANCED, BETTER, LIMITS, NOT_SHOWN, SHOWN
from dovision.results.tables import CLEAN
from dovision.results.thumbnails import samples_in_conditions

RIVALS = ("grad_cam", "integrated_gradients")  # that the best effect map is compared with, those that the run has
RANDOM_MAP = "random_map"
PRIMARY = ("true_effects", "energy", CONTENT, "insertion")  # maps are ranked by the first that the run has
_FURTHER = ("energy", "pointing", "insertion", "deletion")  # whose differences are in the detail
_EFFECT_MAPS = (".EffectMap", ".CombinedMap")  # classes of explainers


def map_findings(run: Run) -> Iterator[Finding]:
    """Findings on the best effect map against each rival and against a random map.

    Of a classifier at chance there is one that says so, as a map of what it has not learnt is neither good nor bad.
    The best of several effect maps is chosen on the same images, so its intervals are of the level at which those of
    the best of so many hold.
    """
    if not (run.folder / MAPS_FILE).is_file():
        return
    if (chance := at_chance(run)) is not None:
        yield chance
        return
    frame = agreements(run.folder)
    configured: Mapping[str, Any] = run.config.get("explainer", {})
    maps = [name for name in frame["explainer"].unique() if is_effect_map(str(name), configured)]
    of_maps = frame[frame["explainer"].isin(maps)]
    metric = next((name for name in PRIMARY if name in frame and of_maps[name].notna().any()), None)
    if metric is None:
        return
    means = of_maps.groupby("explainer", observed=True)[metric].mean()
    level = level_of_selected(1, len(means))
    for rival in (*RIVALS, RANDOM_MAP):
        if (frame["explainer"] == rival).any():
            for one in against(frame, str(means.idxmax()), rival, metric, level):
                yield one._replace(picture=_picture(run, frame, metric, one.picture["maps"]))


def _picture(run: Run, frame: pd.DataFrame, metric: str, names: Sequence[str]) -> dict[str, Any]:
    """The image with a picture on which two explainers differ the most like the median; `nearest` is that of all."""
    rows = frame[frame["explainer"].isin(names)].astype({"explainer": str})
    scores = rows.pivot_table(metric, ["sample", "class"], "explainer", observed=True).dropna()
    difference = scores[names[0]] - scores[names[1]]
    order = (difference - difference.median()).abs().sort_values(kind="stable").index
    pictured = samples_in_conditions(run.folder, [CLEAN])
    picture: dict[str, Any] = {"nearest": int(order[0][0]), "maps": [*names]}
    for sample, label in (key for key in order if key[0] in pictured):
        of_maps = [float(scores.loc[(sample, label), name]) for name in names]
        return picture | {"sample": int(sample), "condition": CLEAN, "label": str(label), "scores": of_maps}
    return picture


def against(frame: pd.DataFrame, best: str, rival: str, metric: str, level: float) -> Iterator[Finding]:
    """Finding on two explainers, of enough images: better if the paired difference and the medians say so.

    Args:
        frame, metric, level: as of `map_difference`.
        best, rival: names of the explainers.
    """
    row = map_difference(frame, best, rival, metric, level)
    if pd.isna(row["difference"]):
        return
    scores = frame[frame["explainer"].isin([best, rival])].astype({"explainer": str})
    scores = scores.pivot_table(metric, ["group", "sample", "class"], "explainer", observed=True).dropna()
    scores = scores.groupby("group").mean()
    names = [rival, best] if direction(row, "difference") < 0 else [best, rival]
    numbers = [middle(scores[name]) for name in names]
    is_better = direction(row, "difference") != 0 and numbers[0].value > numbers[1].value
    heads = {"rival": component_name(names[1]), "metric": METRIC_HEADS[metric]}
    result = finding(BETTER, "maps", SHOWN if is_better else NOT_SHOWN, component_name(names[0]), *numbers, **heads)
    others = {name: map_difference(frame, best, rival, name, level) for name in _FURTHER if name in frame}
    detail = [
        (
            f"{METRIC_HEADS[name]}, {component_name(best)} minus {component_name(rival)}",
            in_brackets(other, "difference"),
        )
        for name, other in ({metric: row} | others).items()
        if other["pairs"] and other["difference"]  # 0 of curves with too few steps
    ]
    detail += [("maps", f"{row['pairs']:,}, paired"), ("level of the intervals", level_text(level))]
    dots = dict(zip(("subject", "control"), (spread_values(scores[name]) for name in names), strict=True))
    yield result._replace(
        detail=detail,
        spread=dots | {"axis": METRIC_HEADS[metric], "names": [*map(component_name, names)]},
        picture={"maps": names},
    )


def at_chance(run: Run) -> Finding | None:
    """Finding that the classifier is not shown to beat chance on clean images; None otherwise, or if unknown.

    Chance is a balanced accuracy of 1 / classes that have images; of several labels an AUROC of one half, which that of
    at least half of them must be above: so many intervals of 95% lie above it in 5% of classifiers at chance at most,
    however labels depend on each other.
    """
    clean, labels = run.summary["conditions"][CLEAN], run.summary.get("labels")
    classes = clean.get("classes", {}).values()
    of_labels = [of_class.get("auroc") for of_class in classes if "balanced_accuracy" in of_class]
    numbers = of_labels or [clean.get("balanced_accuracy") or clean["accuracy"]]
    with_interval = [number for number in numbers if number and number["low"] is not None]
    if not labels or not with_interval:
        return None
    present = sum(images > 0 for images in labels.values()) if clean.get("balanced_accuracy") else len(labels)
    chance = 0.5 if of_labels else 1 / present
    above = sum(number["low"] > chance for number in with_interval)
    if above >= len(with_interval) / 2:
        return None
    best = max(with_interval, key=lambda number: number["estimate"])
    measure = AUROC_OF_LABEL if len(of_labels) > 1 else AUROC_ALONE if of_labels else BALANCED
    number = Number.of(best, "estimate")._replace(n=clean["images"])
    result = finding(LIMITS, "limit", "chance", measure, number, withheld(chance, 0, ""))
    detail = [(measure, in_brackets(best, "estimate", ".3f")), ("images", f"{clean['images']:,}")]
    detail += [("labels above chance", f"{above} of {len(with_interval)}")] * (len(with_interval) > 1)
    return result._replace(name="classifier_at_chance", detail=detail)


def is_effect_map(name: str, configured: Mapping[str, Any]) -> bool:
    """Return whether an explainer is an effect map, by its configuration or by its name."""
    target = str(configured.get(name, {}).get("_target_", ""))
    return target.endswith(_EFFECT_MAPS) or (not target and name.startswith("effect_map"))
