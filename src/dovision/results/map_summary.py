"""Mean scores of each explainer, and its comparison with the one that is the field's reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.agreement import OK, pooled_spearman
from dovision.functional.estimates import of_images
from dovision.functional.intervals import LEVEL, holm, mean_interval, mean_p_value, share_interval
from dovision.results.explanation_metrics import BOX_AREA, CORRELATION, HIT_RATE, MAP_METRICS, RANGES, truth_ranks
from dovision.results.paired_difference import WITHOUT_DIFFERENCE, PairedDifference, paired_difference

POOLED = "pooled_true_effects"  # a metric that is one number of all maps, and not a mean over maps
GIVEN_AREA = "pooled_true_effects_given_area"  # the same of what the area of the boxes does not account for
ALL, CORRECT = "all", "correct"  # cases: every (image, class), or those in which the classifier was right
LOGGED = ("pointing", "energy")  # metrics that the evaluation of maps itself logs
_PAIR = ["sample", "class"]
_OBJECT = [*_PAIR, "object"]
_SHARES = ("pointing", HIT_RATE)  # metrics that are hit or miss


def scores(frame: pd.DataFrame, objects: pd.DataFrame, controls: pd.DataFrame, compared: str) -> pd.DataFrame:
    """Mean of each metric per explainer, over all classes.

    Args:
        frame: from `agreements`.
        objects: from `estimates`; beside true_effects, a mean over images, pooled_true_effects is the rank correlation
            over all objects of all images, pooled_true_effects_given_area the partial one, given the areas of their
            boxes. No rows: no such metric.
        controls: from `control_estimates`, which have these metrics alone.
        compared: the explainer that the others are compared with.

    Returns:
        A row per explainer, metric and cases ("all" or "correct"), with label "all": mean, low, high, clusters;
        scored (maps with a number), maps, flagged (zero or not finite); difference, difference_low, difference_high
        and pairs: the mean over the same (sample, class) of the score minus that of the reference; p, two-sided, and
        p_holm, adjusted over all rows; reason, difference_reason: why there is no interval.
    """
    table = pd.concat([_table(frame, compared), _truth(frame, objects, controls, compared)])
    return table.assign(p_holm=holm(table["p"].to_numpy(float))).reset_index(drop=True)


def whole_scores(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of a run's `scores` over all cases, without metrics that no map has; empty without maps."""
    table = pd.DataFrame(summary.get("maps", []))
    return table[(table["cases"] == ALL) & table["mean"].notna()] if len(table) else table


def _truth(frame: pd.DataFrame, objects: pd.DataFrame, controls: pd.DataFrame, compared: str) -> pd.DataFrame:
    """Rows of metrics that need true effects: per image for the controls, pooled for all explainers."""
    if objects.empty:
        return pd.DataFrame()
    ranks = truth_ranks(controls).merge(controls[[*_PAIR, "group", "correct"]].drop_duplicates(), on=_PAIR)
    missing = dict.fromkeys(set(RANGES) - {"true_effects"}, np.nan)
    mapped = frame[frame["explainer"] == compared]
    table = _table(pd.concat([mapped, ranks.assign(**missing, state=OK)]), compared)
    rows = [table[(table["explainer"] != compared) & (table["metric"] == "true_effects")]]
    areas = controls.loc[controls["explainer"] == BOX_AREA, [*_OBJECT, "density"]].rename(columns={"density": "area"})
    every = pd.concat([objects.drop(columns="area"), controls]).merge(areas, on=_OBJECT, how="left")
    for cases, chosen in ((ALL, every), (CORRECT, every[every["correct"].eq(True)])):
        against = chosen.loc[chosen["explainer"] == compared, [*_OBJECT, "density"]]
        both = chosen.merge(against, on=_OBJECT, suffixes=("", "_reference"), how="left")
        for explainer, of_explainer in both.groupby("explainer", sort=False):
            maps = frame[(frame["explainer"] == explainer) & (frame["correct"].eq(True) | (cases == ALL))]
            count = len(maps) or len(of_explainer[_PAIR].drop_duplicates())
            counts = {"maps": count, "flagged": (maps["state"] != OK).sum()}
            for metric, given in ((POOLED, None), (GIVEN_AREA, "area")):
                if not (given and explainer == BOX_AREA):
                    key = {"explainer": explainer, "metric": metric, "cases": cases, "label": ALL}
                    rows.append(pd.DataFrame([key | _pooled(of_explainer, explainer == compared, given) | counts]))
    return pd.concat(rows)


def map_difference(frame: pd.DataFrame, explainer: str, other: str, metric: str, level: float) -> dict[str, Any]:
    """Mean score of an explainer's maps minus another's, paired by image and class.

    Args:
        frame: from `agreements`.
        explainer, other: their names.
        metric: one of MAP_METRICS.
        level: of the interval over groups.

    Returns:
        difference, difference_low, difference_high, difference_reason, and pairs, how many maps both have a score for.
    """
    scored, others = (frame.loc[frame["explainer"] == name, [*_PAIR, "group", metric]] for name in (explainer, other))
    both = scored.merge(others.drop(columns="group"), on=_PAIR, suffixes=("", "_reference"))
    return _difference(both, metric, level).columns()


def _difference(rows: pd.DataFrame, metric: str, level: float = LEVEL) -> PairedDifference:
    """A metric minus the reference's, METRIC_reference in the same rows."""
    difference = (rows[metric] - rows[f"{metric}_reference"]).to_numpy(float)
    return paired_difference(difference, rows["group"].to_numpy(), rows["sample"].to_numpy(), level)


def _pooled(objects: pd.DataFrame, itself: bool, given: str | None) -> dict[str, Any]:
    """Correlation over all objects, and its difference from the reference over common objects."""
    correlation = {**correlation_columns(objects, given), "scored": objects["density"].count()}
    common = objects.dropna(subset="density_reference")
    if itself or common.empty:
        return {**correlation, **WITHOUT_DIFFERENCE, "p": np.nan}
    difference = _correlation(common, "density", given) - _correlation(common, "density_reference", given)
    groups = np.arange(len(difference))
    interval = of_images(mean_interval(difference, groups), common["sample"].nunique())
    p = np.nan if np.isnan(interval.value) else mean_p_value(difference, groups)
    return {**correlation, **PairedDifference(interval, len(common), p).columns(), "p": p}


def correlation_columns(objects: pd.DataFrame, given: str | None = None) -> dict[str, Any]:
    """The rank correlation of density and evidence over objects, with its interval over groups."""
    of_groups = _correlation(objects, "density", given)
    interval = mean_interval(of_groups, np.arange(len(of_groups))).within(*CORRELATION)
    interval = of_images(interval, objects.loc[objects["density"].notna(), "sample"].nunique())
    return {**interval.columns(), "clusters": interval.n}


def _correlation(objects: pd.DataFrame, column: str, given: str | None = None) -> npt.NDArray[np.float64]:
    values, evidence = objects[column].to_numpy(float), objects["evidence"].to_numpy(float)
    areas = None if given is None else objects[given].to_numpy(float)
    return pooled_spearman(values, evidence, objects["group"].to_numpy(), areas)


def _table(frame: pd.DataFrame, compared: str) -> pd.DataFrame:
    against = frame.loc[frame["explainer"] == compared, [*_PAIR, *RANGES]]
    both = frame.merge(against, on=_PAIR, suffixes=("", "_reference"), how="left")
    rows = []
    for cases, chosen in ((ALL, both), (CORRECT, both[both["correct"].eq(True)])):
        for explainer, chosen_maps in chosen.groupby("explainer", sort=False):
            for metric in RANGES:
                key = {"explainer": explainer, "metric": metric, "cases": cases, "label": ALL}
                difference, p = WITHOUT_DIFFERENCE, np.nan
                if explainer != compared:
                    paired = _difference(chosen_maps, metric)
                    difference, p = paired.columns(), paired.p if metric in MAP_METRICS else np.nan
                rows.append(key | _score(chosen_maps, metric) | difference | {"p": p})
    return pd.DataFrame(rows)


def _score(rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    values = rows[metric].to_numpy(float)
    measure = share_interval if metric in _SHARES else mean_interval
    interval = measure(values, rows["group"].to_numpy()).within(*RANGES[metric])
    interval = of_images(interval, rows.loc[np.isfinite(values), "sample"].nunique())
    counts = {"scored": np.isfinite(values).sum(), "maps": len(rows), "flagged": (rows["state"] != OK).sum()}
    return {**interval.columns(), "clusters": interval.n, **counts}
