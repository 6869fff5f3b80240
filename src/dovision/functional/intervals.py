"""Intervals over groups (patients or images), and tests that agree with them.

A mean is the mean over groups of each group's mean. Of values with bounds, such as effects on a probability, its
interval holds by a theorem; of others, such as effects in log-odds, it is Student's t, and withheld, with the reason,
where it would not hold. `checks/interval_coverage.py` measures what they cover on recorded effects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

_Array = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int64]

LEVEL = 0.95
_FEWEST = 20  # groups, of one size, of the smallest stratum of a paired difference
MIN_GROUPS = 3  # groups behind the interval of a mean, and groups that must differ from the middle one
MEAN, BOUNDED, SHARE = (
    "t",
    "fixed bets",
    "Clopper-Pearson",
)  # the methods; the constants below describe them in captions
MEAN_INTERVALS = (
    "95% intervals over groups (patients or images), Student's t with half the degrees of freedom, widened on the side "
    "of the skew"
)
EFFECT_INTERVALS = (
    "95% intervals over groups (patients or images), by fixed bets, which hold whatever the distribution and are wide "
    "for few groups"
)
SHARE_INTERVALS = "95% intervals over groups (patients or images), Clopper-Pearson at the effective sample size"
PAIRED_INTERVALS = "95% intervals of paired differences over groups (patients or images), Student's t, widened for skew"
BOTH_INTERVALS = (
    f"{SHARE_INTERVALS}; of mean effects on a probability, by fixed bets; of other means, Student's t with half the "
    "degrees of freedom, widened for skew"
)
Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-np.inf, np.inf)
EFFECT_BOUNDS: Bounds = (-1.0, 1.0)  # an effect on a probability, the difference of two of one control, or of two sizes
UNIT_BOUNDS: Bounds = (0.0, 1.0)  # of a share in an image
_BETS = np.sin(
    np.pi / 2 * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 41))
)  # on a lower to on a higher mean, half near 1
_STEPS = 24  # of bisection, to 1e-7 of the range
_PRODUCT = 16  # factors of the capital that are multiplied before the logarithm is taken

NOT_MEASURED, NOT_STATED = "nothing was measured", "not stated"
FEW_GROUPS = f"fewer than {MIN_GROUPS} groups"
ONE_GROUP = "fewer than 2 groups"
CONSTANT = "all groups are equal"
FEW_DIFFERENT = f"rare: fewer than {MIN_GROUPS} groups differ from the rest"
SATURATED = "saturated: below the resolution of float32 probabilities"


class Number(NamedTuple):
    """A value with its interval; `low` and `high` are nan, and `reason` says why, where none is given.

    `n` counts the groups (patients or images), `method` is MEAN, BOUNDED or SHARE, or empty.
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    reason: str

    @classmethod
    def of(cls, row: Mapping[str, Any], name: str = "mean") -> Number:
        """Number of a row of a table, from `columns`, or, by the name "estimate", of a summary, from `to_dict`.

        Args:
            row: with NAME, NAME_low, NAME_high and NAME_reason; without NAME_ before the ends of "mean" and "estimate".
            name: of the number.
        """
        start = "" if name in ("mean", "estimate") else f"{name}_"
        value, low, high = (
            np.nan if (number := row.get(key)) is None else float(number)
            for key in (name, f"{start}low", f"{start}high")
        )
        reason = row.get(f"{start}reason")
        return cls(value, low, high, 0, "", reason if isinstance(reason, str) else NOT_STATED)

    def sign(self, middle: float = 0.0) -> int:
        """1 or -1 if the whole interval lies above or below `middle`; 0 otherwise."""
        return int(self.low > middle) - int(self.high < middle)

    def within(self, least: float, most: float) -> Number:
        """Clip the interval to the quantity's range, `least` to `most`."""
        low, high = (min(max(end, least), most) if end == end else end for end in (self.low, self.high))
        return self._replace(low=low, high=high)

    def bare(self) -> Number:
        """The estimate alone, as of a size, whose median and range say more."""
        reason = self.reason if self.reason in (NOT_MEASURED, SATURATED) else ""
        return withheld(self.value, self.n, reason)

    def columns(self, name: str = "") -> dict[str, float | str]:
        """NAME, NAME_low, NAME_high and NAME_reason (why there are no ends); without a name mean, low, high, reason."""
        start = f"{name}_" if name else ""
        ends = {name or "mean": self.value, f"{start}low": self.low, f"{start}high": self.high}
        return {**ends, f"{start}reason": self.reason}

    def to_dict(self) -> dict[str, Any]:
        """The fields in plain types, the value as "estimate" and n as "clusters", None in place of nan."""
        names = ("estimate", "low", "high", "clusters", "method", "reason")
        values = (value.item() if isinstance(value, np.generic) else value for value in self)
        return {name: None if value != value else value for name, value in zip(names, values, strict=True)}


def withheld(estimate: float, clusters: int, reason: str) -> Number:
    """An estimate without an interval."""
    return Number(estimate, np.nan, np.nan, clusters, "", reason)


class Means(NamedTuple):
    """Means over groups of C quantities, each the mean of the group's mean, with intervals; arrays of shape (C,).

    `p` is the two-sided p-value of "the mean is 0", below .05 exactly where the interval of level .95 excludes 0;
    `n` counts the groups; `reason` says why there is no interval, and low, high and p are nan then.
    """

    value: _Array
    low: _Array
    high: _Array
    p: _Array
    n: npt.NDArray[np.int64]
    reason: npt.NDArray[Any]

    def columns(self, name: str = "") -> dict[str, npt.NDArray[Any]]:
        """NAME, NAME_low, NAME_high, NAME_reason, NAME_p; without a name mean, low, high, reason, p."""
        start = f"{name}_" if name else ""
        ends = {f"{start}{end}": getattr(self, end) for end in ("low", "high", "reason", "p")}
        return {name or "mean": self.value, **ends}


def means(totals: _Array, counts: _Array, resolution: float = 0.0, level: float = LEVEL) -> Means:
    """Means of quantities without bounds, with intervals by Student's t.

    Args:
        totals: the sum of each group's values, shape (G, C).
        counts: how many values it has, shape (G, C); 0 where it has none.
        resolution: a mean size below it is rounding, and gets no interval.
        level: of the intervals.
    """
    value, present, clusters, estimate = _group_means(totals, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        centred = np.where(present, value - estimate, 0.0)
        error = np.sqrt(np.einsum("gc,gc->c", centred, centred) / (clusters * (clusters - 1)))
        skewness = _skewness(centred, clusters)
    apart = _apart(np.where(present, value, np.nan), present, clusters)
    skewness = np.where(apart > 0, skewness, 0.0)
    reasons = {CONSTANT: apart == 0, FEW_DIFFERENT: apart < np.minimum(MIN_GROUPS, clusters - 1)}
    ends = _t_ends(estimate, error, skewness, clusters, level), _t_p_values(estimate, error, skewness, clusters)
    return _means(value, estimate, (*ends[0], ends[1]), clusters, resolution, reasons)


def bounded_means(
    totals: _Array, counts: _Array, bounds: Bounds = EFFECT_BOUNDS, resolution: float = 0.0, level: float = LEVEL
) -> Means:
    """Means of quantities within bounds, with intervals that hold whatever their distribution.

    The interval has all means m at which the mean over fixed bets b of prod((1 + b x) / (1 + b m)) is below
    1 / (1 - level), values scaled to x in [-1, 1]. On the true mean each product is a fair gamble, so that their mean
    reaches 1 / (1 - level) with a chance of at most 1 - level, whatever the distribution and however few the groups. In
    m it is convex, and at most 1 at the estimate; the order of the groups does not count.

    Args:
        totals, counts, resolution, level: as of `means`.
        bounds: of each value, whatever the image.

    Raises:
        ValueError: the mean of a group lies outside the bounds.

    Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2023, arXiv:2010.09686.
    """
    value, present, clusters, estimate = _group_means(totals, counts)
    _check_bounds(value[present], bounds)
    middle, half = (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2
    scaled = np.where(present, (value - middle) / half, 0.0).clip(-1, 1)
    padded = np.pad(scaled, ((0, -len(value) % _PRODUCT), (0, 0))).reshape(-1, _PRODUCT, value.shape[1])
    with np.errstate(divide="ignore"):  # of each bet the sum over groups of log(1 + b x), shape (B, C)
        gains = np.stack([np.log((1 + bet * padded).prod(axis=1)).sum(axis=0) for bet in _BETS])
    mean = np.nan_to_num((estimate - middle) / half).clip(-1, 1)
    low, high = (_end(gains, clusters, mean, side, -np.log(1 - level)) for side in (-1.0, 1.0))
    p = np.exp(np.minimum(0, -_log_capital(gains, clusters, np.clip(-middle / half, -1 + 1e-12, 1 - 1e-12))))
    ends = np.minimum(middle + half * low, estimate), np.maximum(middle + half * high, estimate), p
    return _means(value, estimate, ends, clusters, resolution, {})


def _group_means(totals: _Array, counts: _Array) -> tuple[_Array, npt.NDArray[np.bool_], npt.NDArray[np.int64], _Array]:
    """Mean of each group, 0 without values; whether it has values, shapes (G, C); number and mean of groups."""
    if not len(totals):
        totals = counts = np.zeros((1, totals.shape[1]))
    present = counts > 0
    value, clusters = totals / np.where(present, counts, 1), present.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return value, present, clusters, value.sum(axis=0) / clusters


def _means(
    value: _Array,
    estimate: _Array,
    ends: tuple[_Array, _Array, _Array],
    clusters: npt.NDArray[np.int64],
    resolution: float,
    more: dict[str, npt.NDArray[np.bool_]],
) -> Means:
    """Means with low, high and p where there is no reason, the first that applies, to withhold them."""
    size = np.abs(value).sum(axis=0) / np.maximum(clusters, 1)
    reasons = {NOT_MEASURED: clusters == 0, SATURATED: size < resolution, FEW_GROUPS: clusters < MIN_GROUPS} | more
    reason = np.select(list(reasons.values()), list(reasons), default="")
    low, high, p = (np.where(reason == "", end, np.nan) for end in ends)
    return Means(estimate, low, high, p, clusters, reason)


def _t_ends(
    estimate: _Array, error: _Array, skewness: _Array, effective: npt.NDArray[Any], level: float = LEVEL
) -> tuple[_Array, _Array]:
    """Ends of t intervals of means over groups of one size.

    A quantile q of Student's t with half the degrees of freedom that equal groups of normal effects would have:
    the standard error of skewed effects is known only so well. Towards the longer tail it is
    q + slope (1 + 2 q^2), three times the second-order correction for skewness, which few groups show too little.

    Source of the correction: Johnson, Modified t tests and confidence intervals for asymmetrical populations, 1978.
    """
    quantile = special.stdtrit(_freedom(effective), (1 + level) / 2)
    low, high = (quantile + _slope(side * skewness, effective) * (1 + 2 * quantile**2) for side in (-1, 1))
    return estimate - error * low, estimate + error * high


def _t_p_values(estimate: _Array, error: _Array, skewness: _Array, effective: npt.NDArray[Any]) -> _Array:
    """Two-sided p-values of "the mean is 0": below 1 - level exactly where the interval of that level excludes 0."""
    slope = _slope(-np.sign(estimate) * skewness, effective)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(estimate) / error - slope
        quantile = 2 * distance / (1 + np.sqrt(1 + 8 * slope * np.maximum(distance, 0)))
    p: _Array = 2 * special.stdtr(_freedom(effective), -np.maximum(quantile, 0))
    return p


def _freedom(effective: npt.NDArray[Any]) -> _Array:
    return np.maximum((effective - 1) / 2, 0.5)


def _slope(skewness: _Array, effective: npt.NDArray[Any]) -> _Array:
    return np.maximum(skewness, 0) / (2 * np.sqrt(np.maximum(effective, 1)))


def _log_capital(gains: _Array, clusters: npt.NDArray[np.int64], mean: _Array | float) -> _Array:
    """Log of the mean capital of all bets against `mean`, in [-1, 1], shape (C,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        capital = gains - clusters * np.log1p(np.multiply.outer(_BETS, mean).reshape(len(_BETS), -1))
        largest = capital.max(axis=0)
        return np.asarray(largest + np.log(np.exp(capital - largest).mean(axis=0)))


def _end(gains: _Array, clusters: npt.NDArray[np.int64], mean: _Array, side: float, target: float) -> _Array:
    """Mean farthest from the estimate, towards `side`, whose log capital is below `target`."""
    inside, outside = mean, np.full_like(mean, side)
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        beaten = _log_capital(gains, clusters, middle) >= target
        inside, outside = np.where(beaten, inside, middle), np.where(beaten, middle, outside)
    return outside


def _check_bounds(values: _Array, bounds: Bounds) -> None:
    least, most = bounds
    outside = values[(values < least - 1e-6) | (values > most + 1e-6)]
    if len(outside):
        raise ValueError(
            f"values must lie in [{least:g}, {most:g}], got {outside[0]:g}. Give the bounds of the quantity, or none."
        )


def mean_interval(
    values: _Array, groups: Groups, resolution: float = 0.0, level: float = LEVEL, bounds: Bounds = UNBOUNDED
) -> Number:
    """Mean over groups of the mean of finite values, shape (N,), with its interval.

    Args:
        values: one a row.
        groups: the group of each row, shape (N,).
        resolution: smaller sizes are rounding, and count as 0.
        level: of the interval.
        bounds: of each value. Between two finite ones the interval holds by a theorem (`bounded_means`), else it is
            Student's t (`means`), cut at the bounds.

    Raises:
        ValueError: a value lies outside the bounds.
    """
    _check_bounds(values[np.isfinite(values)], bounds)
    sums = _sums(values, groups, resolution)
    bounded = np.isfinite(bounds).all()
    result = bounded_means(*sums, bounds, resolution, level) if bounded else means(*sums, resolution, level)
    estimate, low, high = (float(column[0]) for column in result[:3])
    reason, method = str(result.reason[0]), BOUNDED if bounded else MEAN
    return Number(estimate, low, high, int(result.n[0]), "" if reason else method, reason).within(*bounds)


def mean_p_value(values: _Array, groups: Groups) -> float:
    """Two-sided p-value of "the mean is 0" for unbounded values; nan where `mean_interval` is withheld."""
    return float(means(*_sums(values, groups, 0.0)).p[0])


def share_of(hits: npt.ArrayLike, count: npt.ArrayLike, level: float = LEVEL) -> tuple[_Array, _Array]:
    """Clopper-Pearson interval of `hits` among `count` independent groups; nan without groups."""
    alpha = (1 - level) / 2
    hits, count = np.broadcast_arrays(np.asarray(hits, float), np.asarray(count, float))
    with np.errstate(invalid="ignore"):
        low = np.where(hits > 0, special.betaincinv(hits, count - hits + 1, alpha), 0.0)
        high = np.where(hits < count, special.betaincinv(hits + 1, count - hits, 1 - alpha), 1.0)
    return np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan)


SPREAD = ("hits", "share_low", "share_high", "median", "median_low", "median_high", "least", "most")


def spread(values: _Array, groups: Groups, level: float = LEVEL) -> dict[str, float]:
    """How many groups have the sign of the median, the median, and the range, of the groups' means; by SPREAD.

    The share has Clopper and Pearson's interval, the median that of order statistics, which holds for any distribution;
    of fewer than 6 groups there is none of level .95: nan.

    Args:
        values: one a row, shape (N,); those that are not finite are left out.
        groups: the group of each row, shape (N,).
        level: of the intervals.
    """
    sums, counts = _sums(values, groups, 0.0)
    means_of_groups = np.sort((sums / counts)[:, 0])
    count = len(means_of_groups)
    if not count:
        return dict.fromkeys(SPREAD, np.nan)
    median = float(np.median(means_of_groups))
    hits = float((np.sign(means_of_groups) == np.sign(median)).sum())
    outside = int((special.bdtr(np.arange(count), count, 0.5) <= (1 - level) / 2).sum())  # ranks beyond each end
    ends = (means_of_groups[outside - 1], means_of_groups[count - outside]) if outside else (np.nan, np.nan)
    numbers = (hits, *share_of(hits, count, level), median, *ends, means_of_groups[0], means_of_groups[-1])
    return dict(zip(SPREAD, map(float, numbers), strict=True))


def share_interval(hits: _Array | npt.NDArray[np.bool_], groups: Groups, level: float = LEVEL) -> Number:
    """Share of ones among zeros and ones, shape (N,), nan ignored, with an interval over whole groups.

    Without repetitions in a group it is Clopper and Pearson's. Of a share of 0 or 1 each group counts once.

    Source: Korn and Graubard, Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data, 1998.
    """
    totals, counts = (column[:, 0] for column in _sums(hits, groups, 0.0))
    clusters, rows = len(counts), int(counts.sum())
    estimate = float(totals.sum() / rows) if rows else np.nan
    if clusters < 2:
        return withheld(estimate, clusters, NOT_MEASURED if clusters == 0 else ONE_GROUP)
    left_out = (totals - estimate * counts) / (rows - counts)  # minus the change of the estimate without the group
    error = float(np.sqrt((clusters - 1) / clusters * (left_out**2).sum()))  # the jackknife's
    effective = float(rows**2 / (counts**2).sum())
    low, high = unit_ends(estimate, error, effective, rows, effective, rows, level)
    return Number(estimate, low, high, clusters, SHARE, "")


def balanced_interval(hits: npt.NDArray[np.bool_], stratum: npt.NDArray[Any], groups: Groups) -> Number:
    """Mean over strata (classes) of the share of hits, with an interval over whole groups.

    Args:
        hits: shape (N,).
        stratum: of each row, shape (N,).
        groups: the group of each row, shape (N,).
    """
    _, number, count = np.unique(stratum, return_inverse=True, return_counts=True)
    rate = np.bincount(number, hits) / count
    added = (hits - rate[number]) / (len(count) * count[number])
    return stratified_interval(float(rate.mean()), added, groups, [groups[number == one] for one in range(len(count))])


def stratified_interval(
    estimate: float, added: _Array, groups: Groups, strata: Sequence[Groups], level: float = LEVEL
) -> Number:
    """The interval of an estimate in [0, 1] over strata (classes, or attacked and clean images).

    Args:
        estimate: the estimate.
        added: what each row adds to it, shape (N,).
        groups: the group of each row, shape (N,).
        strata: the groups of each stratum's rows; the fewest in one of them bound what is known of the error.
        level: of the interval.
    """
    names, group = numbered(groups)
    fewest = min(map(effective_groups, strata))
    if fewest < 2:
        return withheld(estimate, len(names), ONE_GROUP)
    error = float(np.sqrt(fewest / (fewest - 1) * (np.bincount(group, added) ** 2).sum()))
    low, high = unit_ends(estimate, error, fewest, np.inf, fewest, len(strata) * fewest, level)
    return Number(estimate, low, high, len(names), SHARE, "")


def difference_interval(
    estimate: float, added: _Array, groups: Groups, strata: Sequence[Groups], level: float = LEVEL
) -> Number:
    """Interval of a paired difference of two stratified estimates, from the contribution of each row.

    Where few groups make the difference, the error is known as badly as so few groups allow: the degrees of freedom of
    the variance follow from the kurtosis of what the groups add.

    Args:
        estimate: the difference.
        added: what each row adds to it, shape (N,).
        groups: the group of each row, shape (N,).
        strata: the groups of each stratum's rows.
        level: of the interval.
    """
    names, group = numbered(groups)
    fewest, total = min(map(effective_groups, strata)), np.bincount(group, added)
    if fewest < _FEWEST:
        return withheld(estimate, len(names), f"fewer than {_FEWEST} groups")
    if (np.abs(total) > 1e-12).sum() < MIN_GROUPS:
        return withheld(estimate, len(names), FEW_DIFFERENT)
    second, third, fourth = ((total**power).sum() for power in (2, 3, 4))
    count = len(total)
    freedom = min(fewest - 1, 2 * count / max(count * fourth / second**2 - 1, 1e-9))
    error, skewness = np.sqrt(fewest / (fewest - 1) * second), np.sqrt(count) * third / second**1.5
    difference, spread, skew, effective = (np.array([value]) for value in (estimate, error, skewness, 2 * freedom + 1))
    low, high = _t_ends(difference, spread, skew, effective, level)
    return Number(estimate, max(-1.0, float(low[0])), min(1.0, float(high[0])), count, MEAN, "")


def numbered(groups: Groups) -> tuple[Groups, Groups]:
    """Distinct groups, ascending, and the index of each row's group, as by numpy.unique, which sorts all rows."""
    number, names = pd.factorize(groups, sort=True)
    return np.asarray(names), number


def effective_groups(groups: Groups) -> float:
    """Number of equally sized groups with the same evenness of weights."""
    sizes = np.bincount(numbered(groups)[1]).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def unit_ends(
    estimate: float, error: float, effective: float, rows: float, least: float, most: float, level: float = LEVEL
) -> tuple[float, float]:
    """Ends of an interval in [0, 1]: Clopper-Pearson for the number of trials with the same standard error.

    Args:
        estimate: in [0, 1].
        error: its standard error.
        effective: groups that the error is known from.
        rows: trials, if each was a group of its own; at least 2.
        least: trials that are assumed where the error is 0.
        most: trials that are never exceeded.
        level: of the interval.
    """
    alpha = (1 - level) / 2
    size = least
    if error > 1e-9:
        ratio = special.stdtrit(rows - 1, alpha) / special.stdtrit(max(effective - 1, 0.5), alpha)
        again = 1 + 1 / (rows - 1)  # the error was estimated, that of Clopper and Pearson is known
        size = min(estimate * (1 - estimate) / error**2 * again * ratio**2, most)
    hits, misses = estimate * size, (1 - estimate) * size
    low = special.betaincinv(hits, misses + 1, alpha) if hits > 1e-9 else 0.0
    high = special.betaincinv(hits + 1, misses, 1 - alpha) if misses > 1e-9 else 1.0
    return float(low), float(high)


def holm(p: _Array) -> _Array:
    """p-values, shape (N,), adjusted so that the chance of any false finding keeps its level; nan is no test.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted = np.full(len(p), np.nan)
    finite = np.flatnonzero(np.isfinite(p))
    order = finite[np.argsort(p[finite], kind="stable")]
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def level_of_selected(shown: int, total: int) -> float:
    """Level at which 95% of the intervals of the `shown` largest of `total` estimates cover.

    Source: Benjamini and Yekutieli, False discovery rate-adjusted multiple confidence intervals for selected
    parameters, 2005.
    """
    return 1 - (1 - LEVEL) * min(1.0, shown / max(total, 1))


def _sums(values: _Array | npt.NDArray[np.bool_], groups: Groups, resolution: float) -> tuple[_Array, _Array]:
    """Sum and number of the finite values of each group, shapes (G, 1)."""
    seen = np.isfinite(values)
    _, group = numbered(groups[seen])
    clipped = np.where(np.abs(values[seen]) < resolution, 0.0, values[seen])
    totals, counts = np.bincount(group, weights=clipped), np.bincount(group)
    return totals[:, np.newaxis].astype(np.float64), counts[:, np.newaxis].astype(np.float64)


def _skewness(centred: _Array, clusters: Groups) -> _Array:
    """Adjusted Fisher-Pearson skewness of each column of centred values, 0 where a group is missing."""
    square = centred * centred
    second, third = square.sum(axis=0) / clusters, np.einsum("gc,gc->c", square, centred) / clusters
    adjustment = np.sqrt(clusters * (clusters - 1)) / (clusters - 2)
    return np.nan_to_num(third / second**1.5 * adjustment, posinf=0, neginf=0)


def _apart(value: _Array, present: npt.NDArray[np.bool_], clusters: Groups) -> Groups:
    """Number of groups that differ from the rest in each column; exact below FEWEST.

    The rest then has the middle value of any 5 groups; of two middle ones the one that fewer groups differ from counts.
    """
    first = np.argsort(~present, axis=0, kind="stable")[:5] if not present.all() else np.arange(min(5, len(value)))
    few = np.take_along_axis(value, first, axis=0) if first.ndim > 1 else value[first]
    ordered = np.sort(np.where(np.isnan(few), np.inf, few), axis=0)
    tolerance = 1e-9 * np.abs(np.where(present, value, 0.0)).max(axis=0, initial=0.0)
    looked_at = np.minimum(clusters, 5)
    apart = []
    for rank in ((looked_at - 1) // 2, looked_at // 2):
        middle = np.take_along_axis(ordered, rank[np.newaxis], axis=0)
        apart.append((present & (np.abs(value - middle) > tolerance)).sum(axis=0))
    return np.minimum(*apart)
