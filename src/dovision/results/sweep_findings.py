"""Findings of a sweep by its factors: headline numbers with seeds pooled, and tables of two ways."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from dovision.functional.intervals import Number, withheld
from dovision.results import sentences
from dovision.results.detection_summary import NOT_ADAPTIVE, WHOLE_FAMILY
from dovision.results.detection_tables import NOISES, preferred
from dovision.results.display_names import MEAN_EFFECT, WORST_AUROC, metric_head
from dovision.results.effect_findings import norm_of
from dovision.results.factors import SEED_KEY, factor_heads, level_texts, natural
from dovision.results.finding import (
    HEADLINE_METRICS,
    NOTHING,
    Finding,
    finding,
    interval_text,
    number_form,
    seeds_text,
)
from dovision.results.headline_numbers import counted_images, pool_seeds
from dovision.results.image_tables import CONTENT
from dovision.results.map_findings import PRIMARY, at_chance, is_effect_map
from dovision.results.map_summary import whole_scores
from dovision.results.run_record import Run, factors_of
from dovision.results.sentences import DECIDES, LIMITS, SHOWN, UNMOVED
from dovision.results.tables import CLEAN

_EPSILON, _JOB = "epsilon", "job"
_FIRST = ("success_rate", "robust_accuracy", "mean_abs_expected_effect")  # metrics whose tables come first
_NUMBERS = ["metric", "mean", "low", "high", "sd", "seeds", "images", "run"]
_ACROSS = 8  # levels of a factor up to which it has a column each
_COMPARED = 3  # factors that have a sentence
_AT_CHANCE = "at_chance"  # the attribute of a table that names the runs of classifiers at chance
_NORMS = "norms"  # the attribute that names the norms of the attacks
_ANY = "any"  # the level of a factor that cannot change a number
_Row = dict[str, Any]  # metric, condition, mean, low, high, images
_ENDS = ("low", "high")
MOVED_BY = {  # of the groups that say what is measured, those that can change a number; data and training change all
    **dict.fromkeys(("accuracy", "success_rate", "success_8bit", "robust_accuracy"), ("attack",)),
    **dict.fromkeys((MEAN_EFFECT, "auroc"), ("attack", "intervention", "autoencoder")),
    **dict.fromkeys(("energy", CONTENT, "insertion"), ("explainer", "explanation")),
    "true_effects": ("explainer", "explanation", "intervention", "autoencoder"),
    WORST_AUROC: ("detector", "detection", "autoencoder"),
}
_MEASURING = {group for groups in MOVED_BY.values() for group in groups}


class PivotText(str):
    """Text of a number in a pivot table.

    Args:
        text: as displayed.
        share: where the number lies between the least and the most of the table, in [0, 1].
        run: the label of its first job.
    """

    share: float
    run: str

    def __new__(cls, text: str, share: float, run: str) -> PivotText:
        cell = super().__new__(cls, text)
        cell.share, cell.run = share, run
        return cell


class Pivot(NamedTuple):
    """Headline number by factors, as text: rows are settings of `factors`, columns the levels of one more factor."""

    metric: str
    factors: Sequence[str]  # the heads of the first columns
    across: str  # the factor of the other columns; "" where each has too many levels for that
    levels: Sequence[str]  # of that factor; the name of the number where there is none
    rows: Sequence[tuple[Sequence[str], Sequence[PivotText | str]]]  # values of the factors; a number a level, or "-"
    norms: str = ""  # of epsilon, if it is a factor
    shares: Mapping[str, float] = MappingProxyType({})  # of factors in the variance, from `variance_shares`

    @property
    def note(self) -> str:
        """Sentences on the norm of epsilon and on the variance."""
        of_norms = sentences.EPSILON_IN.format(norms=self.norms) if self.norms else ""
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        of_variance = sentences.VARIANCE.format(shares=shares) if shares else ""
        return " ".join(filter(None, [of_norms, of_variance]))


def by_factors(runs: Sequence[Run]) -> pd.DataFrame:
    """Numbers of completed runs (`sweep_numbers`) by factor, pooled over seeds.

    Returns:
        A row a setting and metric: a column a factor, by its display name, of text (by the words of its key where the
        name is that of a number below, such as images), "any" where the factor cannot change the number, which then
        counts once; "job" where jobs have the same factors and the same seed;
        "epsilon" ("clean" for clean images) where a run has attacked images; metric;
        mean, low and high (of one seed, with its interval; of several, their mean, without one); sd over seeds;
        seeds, how many; images, the fewest of a run; run, the label of the first.
    """
    factors = factors_of(runs)
    attacked = any(len(run.summary["conditions"]) > 1 for run in runs)
    keys = [key for key in factors if key != SEED_KEY and not (attacked and key == "attack.eps")]
    heads = factor_heads(keys)
    heads |= {key: " ".join(key.replace("_", " ").split(".")[-2:]) for key in keys if heads[key] in _NUMBERS}
    rows = []
    for run, (_, levels) in zip(runs, factors.iterrows(), strict=True):
        setting = {head: str(levels[key]) for key, head in heads.items()}
        setting |= {_JOB: run.label, "run": run.label, SEED_KEY: levels.get(SEED_KEY)}
        for number in sweep_numbers(run):
            epsilon = {_EPSILON: number["condition"].removeprefix("eps=")} if attacked else {}
            rows.append(setting | epsilon | number)
    frame = pd.DataFrame(rows)
    frame.attrs[_AT_CHANCE] = [run.label for run in runs if run.summary.get("maps") and at_chance(run) is not None]
    last = [(run, [*run.summary["conditions"]][-1]) for run in runs]
    norms = dict.fromkeys(norm_of(run, condition) for run, condition in last if condition != CLEAN)
    frame.attrs[_NORMS] = " or ".join(norms)
    if frame.empty:
        return frame
    names = [*heads.values(), *([_EPSILON] if attacked else [])]
    of_attacks = frame[frame[_EPSILON] != CLEAN] if attacked else frame
    if of_attacks.duplicated([*names, "metric", SEED_KEY]).any():
        names.insert(len(heads), _JOB)
    for key, head in heads.items():
        moved = [can_move(key, *number) for number in frame[["metric", "condition"]].itertuples(index=False)]
        frame[head] = level_texts(frame[head]).where(moved, _ANY)
    frame = frame.astype(dict.fromkeys(("mean", "low", "high"), float)).assign(reason="")
    pooled = pool_seeds(frame, [*names, "metric"])
    first = frame.groupby([*names, "metric"])["run"].first()
    pooled = pooled.join(first, on=[*names, "metric"])[[*names, *_NUMBERS]]
    several = pooled["seeds"] > 1
    pooled = pooled.assign(low=pooled["low"].mask(several), high=pooled["high"].mask(several))
    pooled.attrs = frame.attrs
    return pooled


def pivots(frame: pd.DataFrame) -> list[Pivot]:
    """Pivot table of each headline number; numbers equal in all settings come last.

    Args:
        frame: from `by_factors`.
    """
    if frame.empty:
        return []
    estimates = frame.groupby("metric", sort=False)["mean"].nunique()
    special = [name for name in estimates.index if "/" in name]  # of maps and detectors
    order = [name for name in (*special, *_FIRST, *HEADLINE_METRICS) if name in estimates]
    order.sort(key=lambda name: bool(estimates[name] < 2))
    return [pivot for name in dict.fromkeys(order) if (pivot := _pivot(_of(frame, name), name))]


def sweep_findings(frame: pd.DataFrame) -> list[Finding]:
    """Findings on the range of the first headline number, and on each factor that is shown to move it or another one.

    A factor is, in the first number that changes with it, if all pairs of settings that differ in it alone change in
    one direction, in some pair by more than their intervals; those with most of the variance come first.

    Args:
        frame: from `by_factors`.
    """
    metrics = [table.metric for table in pivots(frame)]
    frame = frame.rename(columns={_EPSILON: f"{frame.attrs.get(_NORMS, '')} {_EPSILON}".strip()})
    result = [_range(_of(frame, metrics[0]))] if metrics else []
    factors = []
    for factor in _varying(frame) if metrics else []:
        compared = ((metric, _pairs(_of(frame, metric), factor)) for metric in metrics)
        moved = ((metric, pairs) for metric, pairs in compared if len(pairs) and (pairs["change"] != 0).any())
        metric, pairs = next(moved, ("", pd.DataFrame()))
        if len(pairs) and abs(np.sign(pairs["change"]).sum()) == len(pairs) and pairs["apart"].any():
            share = variance_shares(_of(frame, metric)).get(factor, 0.0)
            one = _compared(pairs, factor, metric)
            if share:
                one = one._replace(detail=[*one.detail, ("share of the variance over the jobs", f"{share:.0%}")])
            factors.append((metrics.index(metric), -share, -abs(pairs["change"].mean()), one))
    result += [one for *_, one in sorted(factors, key=lambda item: item[:3])][:_COMPARED]
    if jobs := frame.attrs.get(_AT_CHANCE):
        one = finding(LIMITS, "limit", "jobs at chance", "", NOTHING, hits=f"{len(jobs):,}")
        result.append(one._replace(detail=[("jobs", "; ".join(jobs))]))
    return result


def ends_of_range(frame: pd.DataFrame) -> list[str]:
    """Labels of the jobs with the smallest and the largest first headline number, which `sweep_findings` names."""
    for table in pivots(frame)[:1]:
        rows = _of(frame, table.metric)
        return list(dict.fromkeys(rows.loc[[rows["mean"].idxmin(), rows["mean"].idxmax()], "run"]))
    return []


def variance_shares(rows: pd.DataFrame) -> dict[str, float]:
    """Shares of the variance of a number over jobs: of each factor by itself, of factors together, and of seeds.

    Sums of squares of main effects, of what is left between settings (interactions), and within settings, over the
    total. Clean images, which have no epsilon, do not count.

    Args:
        rows: of one metric, from `by_factors`.

    Returns:
        By factor, the largest first, then "factors together" and "seeds"; they add up to 1. Empty unless each
        combination of levels occurs once, with as many seeds, and there is more than one factor, or seed.
    """
    epsilon = [name for name in rows if str(name).endswith(_EPSILON)]
    rows = rows[~rows[epsilon].eq(CLEAN).any(axis=1)]
    factors, seeds = _varying(rows), rows["seeds"].max()
    is_grid = len(rows) == math.prod(rows[name].nunique() for name in factors) and (rows["seeds"] == seeds).all()
    around = rows["mean"] - rows["mean"].mean()
    within = float((seeds - 1) * (rows["sd"].fillna(0.0) ** 2).sum())
    total = float(seeds * (around**2).sum()) + within
    if not is_grid or len(factors) + seeds < 3 or not factors or not total > 0:
        return {}
    squares = {name: float(seeds * (around.groupby(rows[name]).transform("mean") ** 2).sum()) for name in factors}
    shares = {name: squares[name] / total for name in sorted(factors, key=lambda name: -squares[name])}
    if len(factors) > 1:
        shares["factors together"] = max(0.0, 1 - within / total - sum(shares.values()))
    return shares | ({"seeds": within / total} if seeds > 1 else {})


def _of(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    return frame[(frame["metric"] == metric) & frame["mean"].notna()]


def cell_text(row: Any) -> str:
    """Format a number of `by_factors`: with its interval for one seed, with standard deviation for several."""
    if row["seeds"] > 1:
        return seeds_text(row["metric"], row["mean"], row["sd"], row["seeds"])
    return interval_text(Number.of(row), number_form(row["metric"], row["mean"]))


def _varying(rows: pd.DataFrame) -> list[str]:
    return [name for name in rows if name not in _NUMBERS and rows[name].nunique() > 1]


def _pivot(rows: pd.DataFrame, metric: str) -> Pivot | None:
    factors, shares = _varying(rows), variance_shares(rows)
    if not factors:
        return None
    narrow = [name for name in factors if name != _JOB and rows[name].nunique() <= _ACROSS]
    across = narrow[-1] if narrow else ""
    down = [name for name in factors if name != across]
    rows = rows.assign(text=[cell_text(row) for row in rows.to_dict("records")])
    rows = rows if across else rows.assign(**{across: metric_head(metric)})
    levels = sorted(rows[across].unique(), key=ordered_level)
    least, most = rows["mean"].min(), rows["mean"].max()
    cells: dict[Sequence[str], dict[str, PivotText]] = {}
    for row in rows.to_dict("records"):
        text = PivotText(row["text"], (row["mean"] - least) / ((most - least) or 1.0), row["run"])
        cells.setdefault(tuple(row[name] for name in down), {})[row[across]] = text
    ordered = sorted(cells, key=lambda key: [natural(level) for level in key])
    table = [(key, [cells[key].get(level, "-") for level in levels]) for key in ordered]
    norms = rows.attrs.get(_NORMS, "") if _EPSILON in factors else ""
    return Pivot(metric, down, across, levels, table, norms, shares)


def ordered_level(level: str) -> tuple[bool, bool, float, list[str | float]]:
    """Sort key of levels: clean first, then numbers and fractions by value, then text."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/(\d+))?", level)
    size = float(number[1]) / float(number[2] or 1) if number else 0.0
    return level != CLEAN, number is None, size, natural(level)


def _range(rows: pd.DataFrame) -> Finding:
    least, most = (rows.loc[row].to_dict() for row in (rows["mean"].idxmin(), rows["mean"].idxmax()))
    numbers = [Number.of(row)._replace(n=int(row["images"])) for row in (most, least)]
    state = SHOWN if least["mean"] != most["mean"] else UNMOVED
    result = finding(DECIDES, "range", state, metric_head(most["metric"]).partition(",")[0], *numbers)
    detail = [("settings", f"{len(rows):,}"), ("the least", f"{cell_text(least)}, {least['run']}")]
    detail += [("the most", f"{cell_text(most)}, {most['run']}")]
    noun = "images" if "/" not in most["metric"] else "maps"
    noun = "attacked images" if most["metric"].startswith(WORST_AUROC) else noun
    detail += [(noun, f"{rows['images'].min():,} at least in each setting")]
    return result._replace(detail=detail)


def _pairs(rows: pd.DataFrame, factor: str) -> pd.DataFrame:
    """Pairs of settings that differ only in a factor, at its smallest and largest level.

    Returns:
        A row a pair: the other factors; least and most, the levels; mean and mean_last; change, the second minus the
        first; apart: their intervals are, or, of seeds, Student's interval of the change leaves out 0, with the degrees
        of freedom of the fewer seeds. Numbers of one seed without an interval are not.
    """
    levels = [level for level in sorted(rows[factor].unique(), key=ordered_level) if level not in (CLEAN, _ANY)]
    if len(levels) < 2:
        return pd.DataFrame()
    others = [name for name in _varying(rows) if name != factor]
    first, last = (rows[rows[factor] == level] for level in (levels[0], levels[-1]))
    how: Any = {"on": others} if others else {"how": "cross"}
    both = first.merge(last, suffixes=("", "_last"), **how)
    counts = both["seeds"], both["seeds_last"]
    error = np.hypot(both["sd"] / np.sqrt(counts[0]), both["sd_last"] / np.sqrt(counts[1]))
    level = 1 - 0.025 / max(len(both), 1)  # of the best of these pairs
    half = error.mask(error == 0) * special.stdtrit(np.minimum(*counts) - 1, level)  # nan of one seed, of equal ones
    seeds = (both["mean_last"] - both["mean"]).abs() > half
    apart = (both["high"] < both["low_last"]) | (both["high_last"] < both["low"]) | seeds
    names = {"least": levels[0], "most": levels[-1], "apart": apart}
    return both[[*others, "mean", "mean_last"]].assign(**names, change=both["mean_last"] - both["mean"])


def _compared(pairs: pd.DataFrame, factor: str, metric: str) -> Finding:
    """Finding on a factor that moves a number: at its lowest and highest level, or at the two that differ most."""
    head = metric_head(metric).partition(",")[0]
    levels = pairs["least"].iloc[0], pairs["most"].iloc[0]
    numbers = [withheld(float(pairs[name].mean()), len(pairs), "") for name in ("mean", "mean_last")]
    detail = [("pairs of settings alike in all else", f"{len(pairs):,}, all in this direction")]
    detail += [("apart by their intervals", f"{pairs['apart'].sum():,}"), ("levels", " and ".join(levels))]
    if all(ordered_level(level)[1] is False for level in levels):
        return finding(DECIDES, "factor", "number", factor, *reversed(numbers), metric=head)._replace(detail=detail)
    (other, least), (size, most) = sorted(zip(numbers, levels, strict=True), key=lambda item: item[0].value)
    words = {"metric": head, "most": most, "least": least}
    return finding(DECIDES, "factor", "name", factor, size, other, **words)._replace(detail=detail)


def can_move(key: str, metric: str, condition: str) -> bool:
    """Return whether a setting, by dotted name, can affect a number of `sweep_numbers`.

    No attack changes a number of clean images, no explainer or detector that of another one.
    """
    name, _, component = metric.partition("/")
    group, _, rest = key.removeprefix("training.").partition(".")
    if group not in _MEASURING:
        return True
    of_another = component and group in ("explainer", "detector") and rest.partition(".")[0] not in ("", component)
    return group in MOVED_BY[name] and not of_another and (group, condition) != ("attack", CLEAN)


def sweep_numbers(run: Run) -> Iterator[_Row]:
    """Numbers of a completed run by condition; "METRIC/NAME" for explainers and detectors."""
    yield from _of_maps(run)
    yield from _of_detectors(run)
    counts = counted_images(run)
    for condition, of_condition in run.summary["conditions"].items():
        for metric in (name for name in HEADLINE_METRICS if of_condition[name] is not None):
            number = {"mean": of_condition[metric]["estimate"], **{end: of_condition[metric][end] for end in _ENDS}}
            images = counts[condition].get(metric, of_condition["images"])
            yield {"metric": metric, "condition": condition, **number, "images": images}


def _of_maps(run: Run) -> Iterator[_Row]:
    """Mean score of each explainer by the run's first metric of PRIMARY; none if the classifier is at chance."""
    scores = whole_scores(run.summary) if at_chance(run) is None else pd.DataFrame()
    metric = next((name for name in PRIMARY if len(scores) and (scores["metric"] == name).any()), "")
    rows = scores[scores["metric"] == metric].to_dict("records") if metric else []
    configured: Mapping[str, Any] = run.config.get("explainer", {})
    for row in sorted(rows, key=lambda row: not is_effect_map(row["explainer"], configured)):
        number = {name: row[name] for name in ("mean", *_ENDS)}
        yield {"metric": f"{metric}/{row['explainer']}", "condition": CLEAN, **number, "images": row["scored"]}


def _of_detectors(run: Run) -> Iterator[_Row]:
    """Worst-case AUROC of each detector, one variant each, against non-adaptive attacks."""
    frame = pd.DataFrame(run.summary.get("detection", []))
    if frame.empty:
        return
    attacks = (frame["attacker"] == NOT_ADAPTIVE) & ~frame["attack"].isin([*NOISES, WHOLE_FAMILY])
    rows = preferred(frame[attacks & frame["auroc"].notna()])
    for row in rows.loc[rows.groupby("detector", sort=False)["auroc"].idxmin()].to_dict("records"):
        ends = {end: row[f"auroc_{end}"] for end in _ENDS}
        metric = f"{WORST_AUROC}/{row['detector']}"
        yield {"metric": metric, "condition": CLEAN, "mean": row["auroc"], **ends, "images": row["successful"]}
