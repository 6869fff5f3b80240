"""Results side by side: headline numbers, and paired differences from one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dovision import checks
from dovision.analysis.average_effect import grouped_means
from dovision.analysis.detector_comparison import detector_differences
from dovision.analysis.explanation_metrics import MAP_METRICS
from dovision.analysis.map_summary import paired_difference
from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import LEVEL
from dovision.notebook.detect import DetectedAttacks
from dovision.notebook.explain import ExplainedImages
from dovision.notebook.results import MeasuredImages

_HEADLINES = ("accuracy", "success_rate", "robust_accuracy", "mean_abs_expected_effect")
_PAIRED = {"accuracy": "correct", "success_rate": "success", "mean_abs_expected_effect": "mean_abs_expected_effect"}
_SAME = ["sample", "condition"]


def compare(results: MeasuredImages | Mapping[str, MeasuredImages], reference: str | None = None) -> pd.DataFrame:
    """Results of one kind side by side, each against a reference on the same images, with paired intervals.

    Args:
        results: by name, from `effects` or `attack`: two classifiers, fills, attacks, or defences; from `explain`, by
            name or a single one: its explainers; or a single one from `detect`: its detectors.
        reference: what the others are compared with: a name of `results`; an explainer (of several results
            "NAME: EXPLAINER"); or a detector. None: the first.

    Returns:
        Of effects and attacks a row per (result, condition, metric): estimate, low, high, and difference from the
        reference over the images that both have, with difference_low, difference_high, difference_reason, pairs. Of
        maps a row per (explainer, metric): mean, difference and so on. Of detectors the rows of
        `analysis.detector_comparison.detector_differences`.

    Raises:
        ValueError: there is nothing to compare; the results are of several kinds; there is no such reference.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), ["dark", "bright"])
        >>> images = torch.rand(20, 1, 8, 8)
        >>> fills = {"black": dv.Constant(0.0), "mean": dv.Mean()}
        >>> found = {name: dv.effects(classifier, images, dv.PixelGrid(2, 2, fill)) for name, fill in fills.items()}
        >>> table = dv.compare(found)
        >>> table[["result", "metric"]].values.tolist()[-1], int(table["pairs"].iloc[-1])
        (['mean', 'mean_abs_expected_effect'], 20)
    """
    if isinstance(results, DetectedAttacks):
        names = list(results.to_pandas()["detector"].unique())
        chosen = names[0] if reference is None else checks.choice("reference", reference, names)
        return detector_differences(results.folder, chosen)
    named = dict(results) if isinstance(results, Mapping) else {"": results}
    for name, found in named.items():
        checks.instance(f"results[{name!r}]" if name else "results", found, MeasuredImages, "a result of effects(...)")
    if all(isinstance(found, ExplainedImages) for found in named.values()):
        return _maps(named, reference)
    kinds = {type(found).__name__ for found in named.values()}
    if len(kinds) > 1 or len(named) < 2 or "DetectedAttacks" in kinds:
        got = " and ".join(sorted(kinds)) or "none"
        raise ValueError(f"results must be two or more of one kind, by name, or one of detect or explain, got {got}.")
    return _conditions(named, next(iter(named)) if reference is None else checks.choice("reference", reference, named))


def _conditions(named: Mapping[str, MeasuredImages], reference: str) -> pd.DataFrame:
    """Headline numbers of each result by condition, and their difference from the reference's over the same images."""
    compared, rows = named[reference].samples, []
    for name, result in named.items():
        own = result.samples
        for condition, found in result.summary["conditions"].items():
            for metric in _HEADLINES:
                if (number := found[metric]) is None:
                    continue
                key: dict[str, Any] = {"result": name, "condition": condition, "metric": metric}
                key |= {end: number[end] for end in ("estimate", "low", "high")} | {"images": found["images"]}
                rows.append(key | ({} if name == reference else _difference(own, compared, condition, metric)))
    return pd.DataFrame(rows)


def _difference(own: pd.DataFrame, compared: pd.DataFrame, condition: str, metric: str) -> dict[str, Any]:
    column = _PAIRED.get(metric)
    if column is None:
        return {}
    columns = [*_SAME, "group", column]
    here = own.loc[own["condition"] == condition, columns]
    both = here.merge(compared[[*_SAME, column]], on=_SAME, suffixes=("", "_reference"))
    both = both.assign(difference=both[column].astype(float) - both[f"{column}_reference"].astype(float))
    both = both.dropna(subset="difference")
    if both.empty:
        return {"pairs": 0}
    resolution = RESOLUTION if metric == "mean_abs_expected_effect" else 0.0
    row = grouped_means(both, ["condition"], ["difference"], resolution, LEVEL).iloc[0]
    return {name: row[name] for name in row.index if name.startswith("difference")} | {"pairs": len(both)}


def _maps(named: Mapping[str, MeasuredImages], reference: str | None) -> pd.DataFrame:
    """Mean of each metric of each explainer, and its difference from the reference's over the same maps."""
    frames = []
    for name, result in named.items():
        frame = result.to_pandas()
        several = f"{name}: " if len(named) > 1 else ""
        frames.append(frame.assign(explainer=[f"{several}{each}" for each in frame["explainer"]]))
    frame = pd.concat(frames, ignore_index=True)
    names = list(frame["explainer"].unique())
    if len(names) < 2:
        raise ValueError(f"results must have two or more explainers, got {names[0]} alone.")
    compared = names[0] if reference is None else checks.choice("reference", reference, names)
    rows = []
    for name in names:
        own = frame[frame["explainer"] == name]
        for metric in MAP_METRICS:
            row: dict[str, Any] = {"explainer": name, "metric": metric, "mean": own[metric].mean()}
            row["maps"] = int(own[metric].count())
            if not row["maps"]:  # as pointing where no box is known
                continue
            rows.append(row if name == compared else row | paired_difference(frame, name, compared, metric, LEVEL))
    return pd.DataFrame(rows)
