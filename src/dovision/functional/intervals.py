"""Intervals over groups (patients or images) that hold from few groups on, and tests that agree with them.

Each estimate is a sum over groups, so its error follows from what each group adds to it: nothing is drawn at random.
An interval that would not hold is withheld, with the reason; `checks/interval_coverage.py` measures what the others
cover.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

_Array = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

LEVEL = 0.95
_DENSE = 16  # times the number of rows, up to which a table of all numbers is faster than sorting
MIN_GROUPS = 3  # groups behind the interval of a mean, and groups that must differ from the middle one
MEAN, SHARE = "t", "Clopper-Pearson"  # the methods; MEAN_INTERVALS and SHARE_INTERVALS describe them in captions
MEAN_INTERVALS = (
    "95% intervals over groups (patients or images), Student's t with half the degrees of freedom, widened on the side "
    "of the skew"
)
SHARE_INTERVALS = "95% intervals over groups (patients or images), Clopper-Pearson at the effective sample size"
PAIRED_INTERVALS = "95% intervals of paired differences over groups (patients or images), Student's t, widened for skew"
BOTH_INTERVALS = (
    f"{SHARE_INTERVALS}; of means that are no shares, Student's t with half the degrees of freedom, widened for skew"
)

NOT_MEASURED = "nothing was measured"
FEW_GROUPS = f"fewer than {MIN_GROUPS} groups"
ONE_GROUP = "fewer than 2 groups"
ONE_LARGE = "one group holds most of it"
CONSTANT = "all groups are equal"
FEW_DIFFERENT = f"rare: fewer than {MIN_GROUPS} groups differ from the rest"
SATURATED = "saturated: below the resolution of float32 probabilities"


class Interval(NamedTuple):
    """An estimate with its interval; `low` and `high` are nan, and `reason` says why, where none is given.

    `clusters` counts the groups (patients or images), `method` is MEAN or SHARE, or empty.
    """

    estimate: float
    low: float
    high: float
    clusters: int
    method: str
    reason: str

    def within(self, least: float, most: float) -> Interval:
        """The interval of a quantity that has no values below `least` or above `most`."""
        low, high = (min(max(end, least), most) if end == end else end for end in (self.low, self.high))
        return self._replace(low=low, high=high)

    def columns(self, name: str = "") -> dict[str, float | str]:
        """NAME, NAME_low, NAME_high and NAME_reason (why there are no ends); without a name mean, low, high, reason."""
        start = f"{name}_" if name else ""
        ends = {name or "mean": self.estimate, f"{start}low": self.low, f"{start}high": self.high}
        return {**ends, f"{start}reason": self.reason}

    def plain(self) -> dict[str, Any]:
        """The fields by name, None in place of nan."""
        return {name: None if value != value else value for name, value in self._asdict().items()}


def withheld(estimate: float, clusters: int, reason: str) -> Interval:
    """An estimate without an interval."""
    return Interval(estimate, np.nan, np.nan, clusters, "", reason)


class Means(NamedTuple):
    """Means of several quantities, and what their intervals follow from; each an array of shape (C,).

    estimate   total over count
    error      its standard error, the jackknife's over groups
    skewness   of what the groups add to it
    effective  how many groups of one size would weigh as evenly
    clusters   how many groups there are
    reason     why there is no interval; empty where there is one
    """

    estimate: _Array
    error: _Array
    skewness: _Array
    effective: _Array
    clusters: npt.NDArray[np.int64]
    reason: npt.NDArray[Any]

    def ends(self, level: float = LEVEL) -> tuple[_Array, _Array]:
        """The lower and the upper ends, shapes (C,); nan where withheld.

        A quantile q of Student's t with half the degrees of freedom that equal groups of normal effects would have:
        the standard error of skewed effects is known only so well. Towards the longer tail it is
        q + slope (1 + 2 q^2), three times the second-order correction for skewness, which few groups show too little.

        Source of the correction: Johnson, Modified t tests and confidence intervals for asymmetrical populations, 1978.
        """
        quantile = stats.t.ppf((1 + level) / 2, self._freedom)
        ends = []
        for side in (-1, 1):
            reach = quantile + self._slope(side) * (1 + 2 * quantile**2)
            ends.append(np.where(self.reason == "", self.estimate + side * self.error * reach, np.nan))
        return ends[0], ends[1]

    def p_values(self) -> _Array:
        """Two-sided p-values of "the mean is 0", shape (C,): below 1 - level exactly where `ends(level)` excludes 0."""
        slope = self._slope(-np.sign(self.estimate))
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.abs(self.estimate) / self.error - slope
            quantile = 2 * distance / (1 + np.sqrt(1 + 8 * slope * np.maximum(distance, 0)))
        p = 2 * stats.t.sf(np.maximum(quantile, 0), self._freedom)
        return np.where(self.reason == "", p, np.nan)

    @property
    def _freedom(self) -> _Array:
        return np.maximum((self.effective - 1) / 2, 0.5)

    def _slope(self, side: _Array | int) -> _Array:
        return np.maximum(side * self.skewness, 0) / (2 * np.sqrt(np.maximum(self.effective, 1)))


def means(totals: _Array, counts: _Array, resolution: float = 0.0) -> Means:
    """Means over groups of C quantities.

    Args:
        totals: the sum of each group's values, shape (G, C).
        counts: how many values it has, shape (G, C); 0 where it has none.
        resolution: a mean size below it is rounding, and gets no interval.
    """
    if not len(totals):
        totals = counts = np.zeros((1, totals.shape[1]))
    present = counts > 0
    clusters = present.sum(axis=0)
    count, square = counts.sum(axis=0), np.einsum("gc,gc->c", counts, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = totals.sum(axis=0) / count
        added = (totals - estimate * counts) / (count - counts)  # minus the change of the estimate without the group
        added[~present] = 0.0
        error = np.sqrt((clusters - 1) / clusters * np.einsum("gc,gc->c", added, added))
        effective = np.where(clusters > 0, count**2 / square, 0.0)
        skewness = _skewness(added, present, clusters)
        apart = _apart(totals / counts, present, clusters)
    size = np.abs(totals).sum(axis=0) / np.maximum(count, 1)
    reasons = {  # the first that applies
        NOT_MEASURED: clusters == 0,
        SATURATED: size < resolution,
        FEW_GROUPS: clusters < MIN_GROUPS,
        ONE_LARGE: effective < 2,
        CONSTANT: apart == 0,
        FEW_DIFFERENT: apart < np.minimum(MIN_GROUPS, clusters - 1),
    }
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return Means(estimate, error, np.where(apart > 0, skewness, 0.0), effective, clusters, reason)


def mean_interval(values: _Array, groups: Groups, resolution: float = 0.0, level: float = LEVEL) -> Interval:
    """The mean of values, shape (N,), with an interval over whole groups; nan and infinite values are left out.

    Args:
        values: one a row.
        groups: the group of each row, shape (N,).
        resolution: smaller sizes are rounding, and count as 0.
        level: of the interval.
    """
    found = means(*_sums(values, groups, resolution), resolution)
    low, high = found.ends(level)
    reason = str(found.reason[0])
    method = "" if reason else MEAN
    return Interval(float(found.estimate[0]), float(low[0]), float(high[0]), int(found.clusters[0]), method, reason)


def mean_p_value(values: _Array, groups: Groups) -> float:
    """The two-sided p-value of "the mean is 0" that agrees with `mean_interval`; nan where that is withheld."""
    return float(means(*_sums(values, groups, 0.0)).p_values()[0])


def share_interval(hits: _Array | npt.NDArray[np.bool_], groups: Groups) -> Interval:
    """The share of ones among ones and zeros, shape (N,), with an interval over whole groups; nan is left out.

    Without repetitions in a group it is Clopper and Pearson's. Of a share of 0 or 1 each group counts once.

    Source: Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data, 1998.
    """
    totals, counts = _sums(hits, groups, 0.0)
    found = means(totals, counts)
    estimate, clusters = float(found.estimate[0]), int(found.clusters[0])
    if clusters < 2:
        return withheld(estimate, clusters, NOT_MEASURED if clusters == 0 else ONE_GROUP)
    rows, effective = int(counts.sum()), float(found.effective[0])
    low, high = unit_ends(estimate, float(found.error[0]), effective, rows, effective, rows)
    return Interval(estimate, low, high, clusters, SHARE, "")


def balanced_interval(hits: npt.NDArray[np.bool_], stratum: npt.NDArray[Any], groups: Groups) -> Interval:
    """The mean over strata (classes) of the share of hits, with an interval over whole groups.

    Args:
        hits: shape (N,).
        stratum: of each row, shape (N,).
        groups: the group of each row, shape (N,).
    """
    _, place, count = np.unique(stratum, return_inverse=True, return_counts=True)
    rate = np.bincount(place, hits) / count
    added = (hits - rate[place]) / (len(count) * count[place])
    return stratified_interval(float(rate.mean()), added, groups, [groups[place == each] for each in range(len(count))])


def stratified_interval(estimate: float, added: _Array, groups: Groups, strata: Sequence[Groups]) -> Interval:
    """The interval of an estimate in [0, 1] over strata (classes, or attacked and clean images).

    Args:
        estimate: the estimate.
        added: what each row adds to it, shape (N,).
        groups: the group of each row, shape (N,).
        strata: the groups of each stratum's rows; the fewest in one of them bound what is known of the error.
    """
    names, group = numbered(groups)
    fewest = min(map(effective_groups, strata))
    if fewest < 2:
        return withheld(estimate, len(names), ONE_GROUP)
    error = float(np.sqrt(fewest / (fewest - 1) * (np.bincount(group, added) ** 2).sum()))
    low, high = unit_ends(estimate, error, fewest, np.inf, fewest, len(strata) * fewest)
    return Interval(estimate, low, high, len(names), SHARE, "")


def difference_interval(
    estimate: float, added: _Array, groups: Groups, strata: Sequence[Groups], least: int = 20
) -> Interval:
    """The interval of a paired difference of two estimates over strata, as `Means.ends` of what each group adds to it.

    Where few groups make the difference, the error is known as badly as so few groups allow: the degrees of freedom of
    the variance follow from the kurtosis of what the groups add.

    Args:
        estimate: the difference.
        added: what each row adds to it, shape (N,).
        groups: the group of each row, shape (N,).
        strata: the groups of each stratum's rows.
        least: groups, of one size, of the smallest stratum, below which no interval is given.
    """
    names, group = numbered(groups)
    fewest, total = min(map(effective_groups, strata)), np.bincount(group, added)
    if fewest < least:
        return withheld(estimate, len(names), f"fewer than {least} groups")
    if (np.abs(total) > 1e-12).sum() < MIN_GROUPS:
        return withheld(estimate, len(names), FEW_DIFFERENT)
    second, third, fourth = ((total**power).sum() for power in (2, 3, 4))
    count = len(total)
    freedom = min(fewest - 1, 2 * count / max(count * fourth / second**2 - 1, 1e-9))
    error, skewness = np.sqrt(fewest / (fewest - 1) * second), np.sqrt(count) * third / second**1.5
    difference, spread, skew, effective = (np.array([each]) for each in (estimate, error, skewness, 2 * freedom + 1))
    low, high = Means(difference, spread, skew, effective, np.array([count]), np.array([""])).ends()
    return Interval(estimate, max(-1.0, float(low[0])), min(1.0, float(high[0])), count, MEAN, "")


def numbered(groups: Groups) -> tuple[Groups, Groups]:
    """The groups that occur, ascending, and the place of each row's group among them, as of numpy.unique.

    Without sorting where the numbers of groups are not much larger than the number of rows.
    """
    whole = groups.dtype.kind in "iu" and len(groups) > 0
    if not whole or groups.min() < 0 or groups.max() >= _DENSE * len(groups):
        names, place = np.unique(groups, return_inverse=True)
        return names, place
    present = np.zeros(int(groups.max()) + 1, dtype=bool)
    present[groups] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[groups]


def effective_groups(groups: Groups) -> float:
    """Number of groups of one size that would weigh as evenly."""
    sizes = np.bincount(numbered(groups)[1]).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def unit_ends(
    estimate: float, error: float, effective: float, rows: float, least: float, most: float
) -> tuple[float, float]:
    """The ends of an interval in [0, 1]: Clopper and Pearson's for as many trials as would have this error.

    Args:
        estimate: in [0, 1].
        error: its standard error.
        effective: groups that the error is known from.
        rows: trials, if each was a group of its own.
        least: trials that are assumed where the error is 0.
        most: trials that are never exceeded.
    """
    alpha = (1 - LEVEL) / 2
    size = least
    if error > 1e-9:
        ratio = special.stdtrit(max(rows - 1, 0.5), alpha) / special.stdtrit(max(effective - 1, 0.5), alpha)
        again = 1 + 1 / (rows - 1) if rows > 1 else 1.0  # the error was estimated, that of Clopper and Pearson is known
        size = min(estimate * (1 - estimate) / error**2 * again * ratio**2, most)
    hits, misses = estimate * size, (1 - estimate) * size
    low = special.betaincinv(hits, misses + 1, alpha) if hits > 1e-9 else 0.0
    high = special.betaincinv(hits + 1, misses, 1 - alpha) if misses > 1e-9 else 1.0
    return float(low), float(high)


def has_quantile(share: float, count: int) -> bool:
    """Return whether a sample of `count` numbers holds the quantile: at least one number lies on its shorter side."""
    return count * min(share, 1 - share) >= 1 - 1e-9


def holm(p: _Array) -> _Array:
    """p-values, shape (N,), adjusted so that the chance of any false finding keeps its level; nan is no test.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def benjamini_hochberg(p: _Array) -> _Array:
    """p-values, shape (N,), adjusted so that the expected share of false findings keeps its level; nan is no test.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, 1995.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.isfinite(p)
    adjusted[known] = stats.false_discovery_control(p[known])
    return adjusted


def level_of_selected(shown: int, measured: int) -> float:
    """The level of intervals of the `shown` largest of `measured` estimates at which 95% of those shown hold.

    Source: Benjamini and Yekutieli, False discovery rate-adjusted multiple confidence intervals for selected
    parameters, 2005.
    """
    return 1 - (1 - LEVEL) * min(1.0, shown / max(measured, 1))


def _sums(values: _Array | npt.NDArray[np.bool_], groups: Groups, resolution: float) -> tuple[_Array, _Array]:
    """The sum and the number of each group's finite values, shapes (G, 1)."""
    seen = np.isfinite(values)
    _, group = numbered(groups[seen])
    known = np.where(np.abs(values[seen]) < resolution, 0.0, values[seen])
    totals, counts = np.bincount(group, weights=known), np.bincount(group)
    return totals[:, np.newaxis].astype(np.float64), counts[:, np.newaxis].astype(np.float64)


def _skewness(added: _Array, present: npt.NDArray[np.bool_], clusters: Groups) -> _Array:
    """The adjusted Fisher-Pearson coefficient of each column's present rows."""
    centred = np.where(present, added - added.sum(axis=0) / clusters, 0.0)
    square = centred * centred
    second, third = square.sum(axis=0) / clusters, np.einsum("gc,gc->c", square, centred) / clusters
    adjustment = np.sqrt(clusters * (clusters - 1)) / (clusters - 2)
    return np.nan_to_num(third / second**1.5 * adjustment, posinf=0, neginf=0)


def _apart(value: _Array, present: npt.NDArray[np.bool_], clusters: Groups) -> Groups:
    """Number of groups that differ from the rest, of each column; exact as long as they are fewer than FEWEST.

    The rest then has the middle value of any 5 groups; of two middle ones the one that fewer groups differ from counts.
    """
    first = np.argsort(~present, axis=0, kind="stable")[:5] if not present.all() else np.arange(min(5, len(value)))
    few = np.take_along_axis(value, first, axis=0) if first.ndim > 1 else value[first]
    ordered = np.sort(np.where(np.isnan(few), np.inf, few), axis=0)
    tolerance = 1e-9 * np.abs(np.where(present, value, 0.0)).max(axis=0, initial=0.0)
    known = np.minimum(clusters, 5)
    apart = []
    for place in ((known - 1) // 2, known // 2):
        middle = np.take_along_axis(ordered, place[np.newaxis], axis=0)
        apart.append((present & (np.abs(value - middle) > tolerance)).sum(axis=0))
    return np.minimum(*apart)
