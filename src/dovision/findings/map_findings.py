"""Findings of the maps of explainers: the best effect map against Grad-CAM and integrated gradients, paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dovision.analysis.explanation_metrics import agreements
from dovision.analysis.map_summary import map_difference
from dovision.findings.finding import NO_DIFFERENCE, Finding, direction, finding, in_brackets
from dovision.findings.number_text import level_text
from dovision.functional.intervals import level_of_selected
from dovision.store.display_names import METRIC_HEADS, component_name
from dovision.store.map_tables import CONTENT, HARD, MAPS_FILE, SOFT
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN

RIVALS = ("grad_cam", "integrated_gradients")  # that the best effect map is compared with, those that the run has
PRIMARY = ("true_effects", "energy", CONTENT, "insertion")  # maps are ranked by the first that the run has
_FURTHER = ("energy", "pointing", SOFT, HARD)
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
            if not pd.isna(against_rival.estimate):  # of enough images
                yield against_rival


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
    row = {"mean": best["estimate"], "low": best["low"], "high": best["high"]}
    name = "largest AUROC of a label" if len(of_labels) > 1 else "AUROC" if of_labels else "balanced accuracy"
    shown = f", above it on {above} of {len(with_interval)} labels" if len(with_interval) > 1 else ""
    number = f"{name} {in_brackets(row, form='.3f')}, chance {chance:.3g}{shown}; n = {clean['images']:,} images"
    text = (
        f"The classifier is not shown to be better than chance ({number}), so none of its maps is named the better one."
    )
    return finding("classifier_at_chance", text, row, clean["images"])


def is_effect_map(name: str, configured: Mapping[str, Any]) -> bool:
    """Return whether an explainer is an effect map, by its configuration or by its name."""
    target = str(configured.get(name, {}).get("_target_", ""))
    return target.endswith(_EFFECT_MAPS) or (not target and name.startswith("effect_map"))


def _against(frame: pd.DataFrame, best: str, rival: str, metric: str, level: float, several: int) -> Finding:
    row = map_difference(frame, best, rival, metric, level)
    one, other = component_name(best), component_name(rival)
    chosen = f"the best of {several} effect maps, so at {level_text(level)}, " if several > 1 else ""
    number = f"{in_brackets(row, 'difference')}, {chosen}n = {row['pairs']:,} maps"
    verdict = {1: f"higher than that of {other}", -1: f"lower than that of {other}"}.get(direction(row, "difference"))
    verdict = verdict or f"not shown to differ from that of {other}"
    text = f"The {METRIC_HEADS[metric]} of the {one} is {verdict} ({number})"
    for name in (name for name in _FURTHER if name != metric and name in frame):
        more = map_difference(frame, best, rival, name, level)
        verdict = {1: "higher", -1: "lower", 0: NO_DIFFERENCE}[direction(more, "difference")]
        number = f"{in_brackets(more, 'difference')}, n = {more['pairs']:,}"
        text += f"; {METRIC_HEADS[name]}: {verdict} ({number})" if more["pairs"] else ""
    return finding(f"{metric}_minus_{rival}", f"{text}.", row, row["pairs"], "difference")
