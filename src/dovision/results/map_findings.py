"""Findings of the maps of explainers: the best effect map against Grad-CAM and integrated gradients, paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dovision.functional.intervals import LEVEL, level_of_selected
from dovision.results import sentences
from dovision.results.display_names import METRIC_HEADS, component_name
from dovision.results.explanation_metrics import agreements
from dovision.results.finding import Finding, direction, finding, in_brackets, level_text
from dovision.results.image_tables import CONTENT, HARD, MAPS_FILE, SOFT
from dovision.results.map_summary import map_difference
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN

RIVALS = ("grad_cam", "integrated_gradients")  # that the best effect map is compared with, those that the run has
PRIMARY = ("true_effects", "energy", CONTENT, "insertion")  # maps are ranked by the first that the run has
_CURVES = ("insertion", "deletion")  # all 0 with too few steps
_FURTHER = ("energy", "pointing", SOFT, HARD, *_CURVES)
RANDOM_MAP = "random_map"
_LOWER_IS_BETTER = ("deletion",)
_EFFECT_MAPS = (".EffectMap", ".CombinedMap")  # classes of explainers


def map_findings(run: Run) -> Iterator[Finding]:
    """Findings on the best effect map against each rival, and on the explainers ahead of and behind it.

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
    best, level = str(means.idxmax()), level_of_selected(1, len(means))
    for rival in RIVALS:
        if (frame["explainer"] == rival).any():
            against_rival = _against(frame, best, rival, metric, level, len(means))
            if not pd.isna(against_rival.number.value):  # of enough images
                yield against_rival
    yield from _against_random(frame, [best, *RIVALS], len(means))


def _against_random(frame: pd.DataFrame, names: Sequence[str], several: int) -> Iterator[Finding]:
    """Finding on whether the best effect map and its rivals remove and restore a class faster than a random map."""
    metrics = [name for name in ("deletion", "insertion") if name in frame and frame[name].notna().any()]
    compared = [name for name in names if (frame["explainer"] == name).any()]
    if not metrics or not (frame["explainer"] == RANDOM_MAP).any():
        return
    verdicts, rows = [], []
    for number, name in enumerate(compared):
        level = level_of_selected(1, several) if number == 0 else LEVEL
        of_metrics = {metric: map_difference(frame, name, RANDOM_MAP, metric, level) for metric in metrics}
        words: dict[str, list[str]] = {}
        # nan: of too few images; 0: of too few steps
        of_metrics = {metric: row for metric, row in of_metrics.items() if abs(row["difference"]) > 0}
        for metric, row in of_metrics.items():
            sign = direction(row, "difference") * (-1 if metric in _LOWER_IS_BETTER else 1)
            words.setdefault(sentences.RANDOM_VERDICTS[sign], []).append(f"{metric} ({in_brackets(row, 'difference')})")
        if words:
            on = ", ".join(f"{word} on {' and '.join(of)}" for word, of in words.items())
            verdicts.append(f"{component_name(name)} {on}")
        rows += [*of_metrics.values()]
    if not rows:
        return
    pairs = min(row["pairs"] for row in rows)
    count = sentences.AGAINST_RANDOM_COUNT.format(pairs=pairs)
    text = sentences.AGAINST_RANDOM.format(verdicts="; ".join(verdicts), count=count)
    yield finding("maps_minus_random", text, rows[-1], pairs, "difference", figure="map_score_dots")


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
    name = sentences.AUROC_ALONE if of_labels else sentences.BALANCED
    name = sentences.AUROC_OF_LABEL if len(of_labels) > 1 else name
    shown = sentences.ABOVE_CHANCE.format(above=above, count=len(with_interval)) if len(with_interval) > 1 else ""
    number = {"number": f"{name} {in_brackets(best, 'estimate', '.3f')}", "chance": chance, "shown": shown}
    maps = sentences.AT_CHANCE_MAPS if run.summary.get("maps") else ""
    text = sentences.AT_CHANCE.format(**number, count=f"n = {clean['images']:,} images", maps=maps)
    return finding("classifier_at_chance", text, best, clean["images"], "estimate", sentences.LIMITS)


def is_effect_map(name: str, configured: Mapping[str, Any]) -> bool:
    """Return whether an explainer is an effect map, by its configuration or by its name."""
    target = str(configured.get(name, {}).get("_target_", ""))
    return target.endswith(_EFFECT_MAPS) or (not target and name.startswith("effect_map"))


def _against(frame: pd.DataFrame, best: str, rival: str, metric: str, level: float, several: int) -> Finding:
    row = map_difference(frame, best, rival, metric, level)
    further = ""
    for name in (name for name in _FURTHER if name != metric and name in frame):
        more = map_difference(frame, best, rival, name, level)
        verdict = sentences.MORE_VERDICTS[direction(more, "difference")]
        verdict = sentences.UNDECIDED if pd.isna(more["difference_low"]) else verdict
        verdict += sentences.LOWER_IS_BETTER * (name in _LOWER_IS_BETTER)
        if more["pairs"] and (more["difference"] or name not in _CURVES):
            numbers = {"number": in_brackets(more, "difference"), "pairs": more["pairs"]}
            further += sentences.MAP_MORE.format(metric=METRIC_HEADS[name], verdict=verdict, **numbers)
    names = {"metric": METRIC_HEADS[metric], "name": component_name(best), "other": component_name(rival)}
    names |= {"chosen": sentences.MAP_CHOSEN.format(count=several, level=level_text(level)) if several > 1 else ""}
    numbers = {"number": in_brackets(row, "difference"), "pairs": row["pairs"], "more": further}
    names |= {"verdict": sentences.MAP_VERDICTS[direction(row, "difference")]}
    text = sentences.AGAINST_RIVAL.format(**names, **numbers)
    return finding(f"{metric}_minus_{rival}", text, row, row["pairs"], "difference", figure="map_score_dots")
