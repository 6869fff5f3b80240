"""Mean scores of each explainer, and its comparison with the one that is the field's reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.analysis.explanation_metrics import BOX_AREA, CORRELATION, MAP_METRICS, RANGES, truth_ranks
from dovision.functional.agreement import OK, pooled_spearman
from dovision.functional.estimates import of_images
from dovision.functional.intervals import benjamini_hochberg, holm, mean_interval, mean_p_value, share_interval

POOLED = "pooled_true_effects"  # a metric that is one number of all maps, and not a mean over maps
GIVEN_AREA = "pooled_true_effects_given_area"  # the same of what the area of the boxes does not account for
ALL, CORRECT = "all", "correct"  # cases: every (image, class), or those in which the classifier was right
LOGGED = ("pointing", "energy")  # metrics that the evaluation of maps itself logs
_PAIR = ["sample", "class"]
_OBJECT = [*_PAIR, "object"]
_SHARES = ("pointing",)  # metrics that are hit or miss
_DIFFERENCE = [f"difference{end}" for end in ("", "_low", "_high", "_reason")]


def scores(frame: pd.DataFrame, parts: pd.DataFrame, controls: pd.DataFrame, compared: str) -> pd.DataFrame:
    """The mean of each metric for each explainer, over all classes together.

    Args:
        frame: from `agreements`.
        parts: from `estimates`; beside true_effects, a mean over images, pooled_true_effects is the rank correlation
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
    table = pd.concat([_table(frame.assign(label=ALL), compared), _truth(frame, parts, controls, compared)])
    return table.assign(p_holm=holm(table["p"].to_numpy(float))).reset_index(drop=True)


def whole_scores(summary: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a run's summary of `scores` over all cases, without metrics that no map has; empty without maps."""
    table = pd.DataFrame(summary.get("maps", []))
    return table[(table["cases"] == ALL) & table["mean"].notna()] if len(table) else table


def label_scores(frame: pd.DataFrame, compared: str) -> pd.DataFrame:
    """The same for each class by itself, with p_holm and p_bh, adjusted over the explainers and classes of a metric."""
    table = _table(frame.assign(label=frame["class"]), compared)
    p = table.groupby(["metric", "cases"])["p"]
    return table.assign(
        p_holm=p.transform(lambda own: holm(own.to_numpy(float))),
        p_bh=p.transform(lambda own: benjamini_hochberg(own.to_numpy(float))),
    )


def _truth(frame: pd.DataFrame, parts: pd.DataFrame, controls: pd.DataFrame, compared: str) -> pd.DataFrame:
    """Rows of the metrics that need true effects: the controls' per image, and the pooled ones of all."""
    if parts.empty:
        return pd.DataFrame()
    ranks = truth_ranks(controls).merge(controls[[*_PAIR, "group", "correct"]].drop_duplicates(), on=_PAIR)
    missing = dict.fromkeys(set(MAP_METRICS) - {"true_effects"}, np.nan)
    mapped = frame[frame["explainer"] == compared]
    table = _table(pd.concat([mapped, ranks.assign(**missing, state=OK)]).assign(label=ALL), compared)
    rows = [table[(table["explainer"] != compared) & (table["metric"] == "true_effects")]]
    areas = controls.loc[controls["explainer"] == BOX_AREA, [*_OBJECT, "density"]].rename(columns={"density": "area"})
    every = pd.concat([parts.drop(columns="area"), controls]).merge(areas, on=_OBJECT, how="left")
    for cases, chosen in ((ALL, every), (CORRECT, every[every["correct"].eq(True)])):
        against = chosen.loc[chosen["explainer"] == compared, [*_OBJECT, "density"]]
        both = chosen.merge(against, on=_OBJECT, suffixes=("", "_reference"), how="left")
        for explainer, own in both.groupby("explainer", sort=False):
            maps = frame[(frame["explainer"] == explainer) & (frame["correct"].eq(True) | (cases == ALL))]
            counts = {
                "maps": len(maps) or own[_PAIR].drop_duplicates().shape[0],
                "flagged": (maps["state"] != OK).sum(),
            }
            for metric, given in ((POOLED, None), (GIVEN_AREA, "area")):
                if not (given and explainer == BOX_AREA):
                    key = {"explainer": explainer, "metric": metric, "cases": cases, "label": ALL}
                    rows.append(pd.DataFrame([key | _pooled(own, explainer == compared, given) | counts]))
    return pd.concat(rows)


def paired_difference(frame: pd.DataFrame, explainer: str, other: str, metric: str, level: float) -> dict[str, Any]:
    """Mean score of an explainer's maps minus that of another's, of the same images and classes.

    Args:
        frame: from `agreements`.
        explainer, other: their names.
        metric: one of MAP_METRICS.
        level: of the interval over groups.

    Returns:
        difference, difference_low, difference_high, difference_reason, and pairs, how many maps both have a score for.
    """
    own, theirs = (frame.loc[frame["explainer"] == name, [*_PAIR, "group", metric]] for name in (explainer, other))
    both = own.merge(theirs.drop(columns="group"), on=_PAIR, suffixes=("", "_other"))
    values = (both[metric] - both[f"{metric}_other"]).to_numpy(float)
    known = np.isfinite(values)
    interval = mean_interval(values, both["group"].to_numpy(), level=level)
    return of_images(interval, both.loc[known, "sample"].nunique()).columns("difference") | {"pairs": int(known.sum())}


def reliability(parts: pd.DataFrame) -> pd.DataFrame:
    """Correlation with true effects over objects on which the maps behind a map agree, and over the others.

    Args:
        parts: from `estimates`.

    Returns:
        A row per explainer with a spread, and half of its objects ("agree", "differ"), by the spread over a box divided
        by the size of the map there: mean (the rank correlation over the objects), low, high, reason, clusters,
        objects. Empty where no map has a spread.
    """
    rows = []
    for explainer, own in parts[parts["spread"].notna()].groupby("explainer", sort=False):
        relative = own["spread"] / own["density"].abs()
        agree = relative <= relative.median()
        for half, chosen in (("agree", own[agree]), ("differ", own[~agree])):
            of_groups = _correlation(chosen, "density")
            interval = mean_interval(of_groups, np.arange(len(of_groups))).within(*CORRELATION)
            interval = of_images(interval, chosen["sample"].nunique())
            counts = {"clusters": interval.clusters, "objects": len(chosen)}
            rows.append({"explainer": explainer, "half": half, **interval.columns(), **counts})
    return pd.DataFrame(rows)


def _pooled(own: pd.DataFrame, itself: bool, given: str | None) -> dict[str, Any]:
    """The correlation over all objects, and that minus the reference's over the objects that both have."""
    of_groups = _correlation(own, "density", given)
    interval = mean_interval(of_groups, np.arange(len(of_groups))).within(*CORRELATION)
    interval = of_images(interval, own.loc[own["density"].notna(), "sample"].nunique())
    found = {**interval.columns(), "clusters": interval.clusters, "scored": own["density"].count()}
    common = own.dropna(subset="density_reference")
    if itself or common.empty:
        return {**found, **dict.fromkeys(_DIFFERENCE, np.nan), "pairs": 0, "p": np.nan}
    difference = _correlation(common, "density", given) - _correlation(common, "density_reference", given)
    groups = np.arange(len(difference))
    interval = of_images(mean_interval(difference, groups), common["sample"].nunique())
    p = np.nan if np.isnan(interval.estimate) else mean_p_value(difference, groups)
    counts = {"pairs": len(common), "p": p}
    return {**found, **interval.columns("difference"), **counts}


def _correlation(own: pd.DataFrame, column: str, given: str | None = None) -> npt.NDArray[np.float64]:
    values, evidence, groups = own[column].to_numpy(float), own["evidence"].to_numpy(float), own["group"].to_numpy()
    return pooled_spearman(values, evidence, groups, None if given is None else own[given].to_numpy(float))


def _table(frame: pd.DataFrame, compared: str) -> pd.DataFrame:
    against = frame.loc[frame["explainer"] == compared, [*_PAIR, *MAP_METRICS]]
    both = frame.merge(against, on=_PAIR, suffixes=("", "_reference"), how="left")
    rows = []
    for cases, chosen in ((ALL, both), (CORRECT, both[both["correct"].eq(True)])):
        for label, of_label in chosen.groupby("label", sort=False):
            for explainer, own in of_label.groupby("explainer", sort=False):
                for metric in MAP_METRICS:
                    key = {"explainer": explainer, "metric": metric, "cases": cases, "label": label}
                    rows.append(key | _score(own, metric) | _difference(own, metric, explainer == compared))
    return pd.DataFrame(rows)


def _score(rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    values = rows[metric].to_numpy(float)
    measure = share_interval if metric in _SHARES else mean_interval
    interval = measure(values, rows["group"].to_numpy()).within(*RANGES[metric])
    interval = of_images(interval, rows.loc[np.isfinite(values), "sample"].nunique())
    counts = {"scored": np.isfinite(values).sum(), "maps": len(rows), "flagged": (rows["state"] != OK).sum()}
    return {**interval.columns(), "clusters": interval.clusters, **counts}


def _difference(rows: pd.DataFrame, metric: str, itself: bool) -> dict[str, Any]:
    if itself:
        return {**dict.fromkeys(_DIFFERENCE, np.nan), "pairs": 0, "p": np.nan}
    values, groups = (rows[metric] - rows[f"{metric}_reference"]).to_numpy(float), rows["group"].to_numpy()
    known = np.isfinite(values)
    interval = of_images(mean_interval(values, groups), rows.loc[known, "sample"].nunique())
    p = np.nan if np.isnan(interval.estimate) else mean_p_value(values, groups)
    return {**interval.columns("difference"), "pairs": known.sum(), "p": p}
