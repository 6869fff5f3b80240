"""Numbers of a run by which the jobs of a sweep are compared: scores of maps, of detectors, and headline numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dovision.analysis.detection_summary import NOT_ADAPTIVE, WHOLE_FAMILY
from dovision.analysis.map_summary import whole_scores
from dovision.findings.counted_images import counted_images
from dovision.findings.map_findings import PRIMARY, at_chance, is_effect_map
from dovision.findings.number_text import HEADLINE_METRICS
from dovision.store.detection_tables import NOISE, preferred
from dovision.store.display_names import MEAN_EFFECT, WORST_AUROC
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN

Number = dict[str, Any]  # metric, condition, mean, low, high, images
_ENDS = ("low", "high")
MOVED_BY = {  # of the groups that say what is measured, those that can change a number; data and training change all
    **dict.fromkeys(("accuracy", "success_rate", "success_8bit", "robust_accuracy"), ("attack",)),
    **dict.fromkeys((MEAN_EFFECT, "auroc"), ("attack", "intervention", "autoencoder")),
    **dict.fromkeys(("energy", "insertion"), ("explainer", "explanation")),
    "true_effects": ("explainer", "explanation", "intervention", "autoencoder"),
    WORST_AUROC: ("detector", "detection", "autoencoder"),
}
_MEASURING = {group for groups in MOVED_BY.values() for group in groups}


def can_move(key: str, metric: str, condition: str) -> bool:
    """Whether a setting, by its dotted name, can change a number of `sweep_numbers`.

    No attack changes a number of clean images, no explainer or detector that of another one.
    """
    name, _, component = metric.partition("/")
    group, _, rest = key.removeprefix("training.").partition(".")
    if group not in _MEASURING:
        return True
    of_another = component and group in ("explainer", "detector") and rest.partition(".")[0] not in ("", component)
    return group in MOVED_BY[name] and not of_another and (group, condition) != ("attack", CLEAN)


def sweep_numbers(run: Run) -> Iterator[Number]:
    """The numbers of a completed run, each with its condition; "METRIC/NAME" of an explainer or a detector."""
    yield from _of_maps(run)
    yield from _of_detectors(run)
    counts = counted_images(run)
    for condition, found in run.summary["conditions"].items():
        for metric in (name for name in HEADLINE_METRICS if found[name] is not None):
            number = {"mean": found[metric]["estimate"], **{end: found[metric][end] for end in _ENDS}}
            images = counts[condition].get(metric, found["images"])
            yield {"metric": metric, "condition": condition, **number, "images": images}


def units_counted(metric: str) -> str:
    """What the `images` of a number are."""
    if "/" not in metric:
        return "images"
    return "attacked images" if metric.startswith(WORST_AUROC) else "maps"


def _of_maps(run: Run) -> Iterator[Number]:
    """The mean score of each explainer by the first of PRIMARY that the run has; none of a classifier at chance."""
    scores = whole_scores(run.summary) if at_chance(run) is None else pd.DataFrame()
    metric = next((name for name in PRIMARY if len(scores) and (scores["metric"] == name).any()), "")
    rows = scores[scores["metric"] == metric].to_dict("records") if metric else []
    configured: Mapping[str, Any] = run.config.get("explainer", {})
    for row in sorted(rows, key=lambda row: not is_effect_map(row["explainer"], configured)):
        number = {name: row[name] for name in ("mean", *_ENDS)}
        yield {"metric": f"{metric}/{row['explainer']}", "condition": CLEAN, **number, "images": row["scored"]}


def _of_detectors(run: Run) -> Iterator[Number]:
    """The AUROC of each detector where it is worst, by one variant of each, against attacks that do not know it."""
    frame = pd.DataFrame(run.summary.get("detection", []))
    if frame.empty:
        return
    attacks = (frame["attacker"] == NOT_ADAPTIVE) & ~frame["attack"].isin([NOISE, WHOLE_FAMILY])
    rows = preferred(frame[attacks & frame["auroc"].notna()])
    for row in rows.loc[rows.groupby("detector", sort=False)["auroc"].idxmin()].to_dict("records"):
        ends = {end: row[f"auroc_{end}"] for end in _ENDS}
        metric = f"{WORST_AUROC}/{row['detector']}"
        yield {"metric": metric, "condition": CLEAN, "mean": row["auroc"], **ends, "images": row["successful"]}
