"""Effects of interventions, their averages and intervals: pure functions.

Treated minus control, everywhere: a negative effect means that do(u) took evidence away.
Source of the definitions: arXiv:1902.03380.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from scipy.stats import false_discovery_control
from torch import Tensor

from dovision import checks
from dovision.contracts import Task

Array = npt.NDArray[np.float64]

SCALES = ("probability", "log_odds")  # on which evidence for a class is measured
BLOCK = 1_000_000  # random numbers that are drawn at once


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


def evidence(logits: Tensor, task: Task, scale: str) -> Tensor:
    """P(y | x), or its log-odds, which a saturated softmax does not hide; shape (..., K), from logits of that shape.

    Args:
        logits: of the classifier.
        task: its classes.
        scale: one of SCALES.
    """
    return task.log_odds(logits) if scale == "log_odds" else task.probability(logits)


def log_odds_effect(treated_logits: Tensor, control_logits: Tensor, task: Task) -> Tensor:
    """Change of log P/(1 - P), shape (..., K), which a saturated softmax does not hide.

    Raises:
        ValueError: the shapes differ.
    """
    checks.same_shape(treated_logits=treated_logits, control_logits=control_logits)
    return task.log_odds(treated_logits) - task.log_odds(control_logits)


def divergence(control_logits: Tensor, treated_logits: Tensor, task: Task) -> Tensor:
    """Terms of the Kullback-Leibler divergence KL(P(y | x) || P(y | do(u), x)), in nats.

    Args:
        control_logits: of P(y | x), shape (..., K).
        treated_logits: of P(y | do(u), x), the same shape.
        task: its classes.

    Returns:
        Shape (..., K). For multiclass the term of each class, P log(P / Q), which may be negative: their sum is the
        divergence, their mean what torch's KLDivLoss takes by default. For multilabel the divergence of each label.

    Raises:
        ValueError: the shapes differ.
    """
    checks.same_shape(control_logits=control_logits, treated_logits=treated_logits)
    if not task.multilabel:
        control, treated = control_logits.log_softmax(-1), treated_logits.log_softmax(-1)
        return F.kl_div(treated, control, reduction="none", log_target=True)
    present = control_logits.sigmoid() * (F.logsigmoid(control_logits) - F.logsigmoid(treated_logits))
    absent = (-control_logits).sigmoid() * (F.logsigmoid(-control_logits) - F.logsigmoid(-treated_logits))
    return present + absent


def expected_logit_effect(treated_logits: Tensor, control_logits: Tensor, task: Task) -> Tensor:
    """Change of the logits weighted by the control probability, as the notebooks of the source report it.

    Args:
        treated_logits: logits under do(u), shape (..., K).
        control_logits: logits of P(y | x), the same shape.
        task: multiclass sums over the classes; multilabel has one expected effect per label.

    Returns:
        Shape (..., K). For multiclass the sum over classes, the same number for each class.

    Raises:
        ValueError: the shapes differ.

    Source: mnist.ipynb of the authors' notebooks (jjaacckkyy63/Causal-Intervention-AE-wAdvImg).
    """
    checks.same_shape(treated_logits=treated_logits, control_logits=control_logits)
    return expected_effect(treated_logits - control_logits, task.probability(control_logits), task)


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


def mean_interval(
    values: Array, groups: npt.NDArray[np.int64], seed: int, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Mean of values, shape (N,), with a percentile interval that resamples whole groups (patients).

    nan and infinite values are left out; the interval is nan with fewer than two groups.

    Args:
        values: one a row.
        groups: the group of each row, shape (N,).
        seed: of the resampling.
        draws: how many resamples.
        level: the share of the resampled means inside the interval.
    """
    estimate, resampled, clusters = _resampled_means(values, groups, seed, draws)
    return percentile_interval(estimate, resampled, level, clusters)


def percentile_interval(estimate: float, resampled: Array, level: float, count: int) -> Interval:
    """The percentile interval of resampled values, shape (draws,); nan where over a tenth of them are not defined."""
    finite = resampled[np.isfinite(resampled)]
    if len(finite) < 0.9 * len(resampled):
        return Interval(estimate, np.nan, np.nan, count)
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), count)


def mean_p_value(values: Array, groups: npt.NDArray[np.int64], seed: int, draws: int = 1000) -> float:
    """Two-sided bootstrap p-value of "the mean of values is 0", from the resamples of `mean_interval`.

    Twice the share of resampled means on the other side of 0, at least 2 / (draws + 1) and at most 1; nan with fewer
    than two groups. Nor is it below 2 / 2^groups, what flipping signs could reach: resamples of a few groups that
    agree all agree, which proves little.

    Source: the percentile interval turned round; the 1 that is added to both counts as in Davison and Hinkley,
    Bootstrap methods and their application, 1997, chapter 4.
    """
    _, resampled, clusters = _resampled_means(values, groups, seed, draws)
    if clusters < 2:
        return np.nan
    beyond = min(int((resampled <= 0).sum()), int((resampled >= 0).sum()))
    return min(1.0, max(2 * (beyond + 1) / (draws + 1), 2.0 ** (1 - clusters)))


def holm(p: Array) -> Array:
    """p-values, shape (N,), adjusted so that the chance of any false finding keeps its level; nan is no test.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def benjamini_hochberg(p: Array) -> Array:
    """p-values, shape (N,), adjusted so that the expected share of false findings keeps its level; nan is no test.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, 1995.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.isfinite(p)
    adjusted[known] = false_discovery_control(p[known])
    return adjusted


def _resampled_means(values: Array, groups: npt.NDArray[np.int64], seed: int, draws: int) -> tuple[float, Array, int]:
    """The mean of the finite values, that of each resample of whole groups, and how many groups there are."""
    seen = np.isfinite(values)
    _, cluster = np.unique(groups[seen], return_inverse=True)
    total, count = np.bincount(cluster, weights=values[seen]), np.bincount(cluster)
    clusters = len(count)
    if clusters == 0:
        return np.nan, np.full(draws, np.nan), 0
    estimate = float(total.sum() / count.sum())
    if clusters < 2:
        return estimate, np.full(draws, np.nan), clusters
    random = np.random.default_rng(seed)
    resampled = []
    for block in np.array_split(np.arange(draws), 1 + draws * clusters // BLOCK):
        drawn = random.integers(clusters, size=(len(block), clusters))
        resampled.append(total[drawn].sum(1) / count[drawn].sum(1))
    return estimate, np.concatenate(resampled), clusters
