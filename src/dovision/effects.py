"""Effects of interventions, their averages and intervals: pure functions.

Treated minus control, everywhere: a negative effect means that do(u) took evidence away.
Source of the definitions: arXiv:1902.03380, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision import checks
from dovision.contracts import Task

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with its bootstrap interval; `clusters` counts the patients (or samples)."""

    estimate: float
    low: float
    high: float
    clusters: int


def effect(treated: Tensor, control: Tensor) -> Tensor:
    """Change of class probability caused by an intervention.

    Args:
        treated: P(y | do(u), x), shape (..., K), probabilities.
        control: P(y | x), the same shape, probabilities.

    Returns:
        Signed effect, shape (..., K), in [-1, 1].

    Raises:
        ValueError: the shapes differ.
    """
    checks.same_shape(treated=treated, control=control)
    return treated - control


def log_odds_effect(treated_logits: Tensor, control_logits: Tensor, task: Task) -> Tensor:
    """Change of log P/(1 - P), shape (..., K), which a saturated softmax does not hide.

    Raises:
        ValueError: the shapes differ.
    """
    checks.same_shape(treated_logits=treated_logits, control_logits=control_logits)
    return task.log_odds(treated_logits) - task.log_odds(control_logits)


def expected_effect(effect: Tensor, control: Tensor, task: Task) -> Tensor:
    """ECE: the effect weighted by the control probability.

    Args:
        effect: effects, shape (..., K).
        control: P(y | x), the same shape.
        task: multiclass sums over the classes; multilabel has one expected effect per label.

    Returns:
        Shape (..., K) in [-1, 1]. For multiclass the sum over classes, the same number for each class.

    Raises:
        ValueError: the shapes differ.
    """
    checks.same_shape(effect=effect, control=control)
    weighted = effect * control
    return weighted if task.multilabel else weighted.sum(-1, keepdim=True).expand_as(effect)


def bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    groups: npt.NDArray[np.int64],
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a statistic, resampling whole groups (patients).

    Args:
        statistic: from row numbers, shape (M,), with repetitions, to a number; nan where it is not defined.
        groups: the group of each row, shape (N,).
        seed: of the resampling.

    Returns:
        The statistic of all rows and its interval; nan where the statistic of too many resamples is not defined.
    """
    order = np.argsort(groups, kind="stable")
    _, starts = np.unique(groups[order], return_index=True)
    rows = np.split(order, starts[1:]) if len(order) else []
    estimate = statistic(order) if rows else np.nan
    if len(rows) < 2:
        return Interval(float(estimate), np.nan, np.nan, len(rows))
    random = np.random.default_rng(seed)
    single = len(rows) == len(order)
    resampled = np.empty(draws)
    for draw in range(draws):
        drawn = random.integers(len(rows), size=len(rows))
        resampled[draw] = statistic(order[drawn] if single else np.concatenate([rows[i] for i in drawn]))
    return _percentiles(float(estimate), resampled, level, len(rows))


def mean_interval(
    values: Array, groups: npt.NDArray[np.int64], seed: int, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Mean of values, shape (N,), with a percentile interval that resamples whole groups (patients).

    nan and infinite values are left out; the interval is nan with fewer than two groups.
    """
    seen = np.isfinite(values)
    _, cluster = np.unique(groups[seen], return_inverse=True)
    clusters = int(cluster.max()) + 1 if seen.any() else 0
    if clusters == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    total = np.bincount(cluster, weights=values[seen])
    count = np.bincount(cluster)
    estimate = float(total.sum() / count.sum())
    if clusters < 2:
        return Interval(estimate, np.nan, np.nan, clusters)
    random = np.random.default_rng(seed)
    resampled = np.empty(draws)
    for draw in range(draws):
        drawn = random.integers(clusters, size=clusters)
        resampled[draw] = total[drawn].sum() / count[drawn].sum()
    return _percentiles(estimate, resampled, level, clusters)


def _percentiles(estimate: float, resampled: Array, level: float, count: int) -> Interval:
    finite = resampled[np.isfinite(resampled)]
    if len(finite) < 0.9 * len(resampled):
        return Interval(estimate, np.nan, np.nan, count)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), count)
