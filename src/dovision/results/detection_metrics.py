"""How well a score tells attacked images from others, with intervals: pure functions.

A group's (patient's) images are resampled together, in whatever world they are. The scores are sorted once: a resample
is a count per group, so that 1000 resamples of 10,000 images against 10,000 take a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dovision.effects import Interval, percentile_interval

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]

BLOCK = 40_000  # numbers at once: few enough that memory is used again and not asked for anew, which takes longest


class Scored(NamedTuple):
    """Scores of images, shape (N,), and the group (patient) of each."""

    score: Floats
    group: Integers


class Resamples:
    """How often each group counts in each resample of whole groups; drawn once for all that is to be compared.

    Args:
        groups: the group of each image, in all worlds; in any order, with repetitions.
        seed: of the resampling.
        draws: how many resamples.
    """

    def __init__(self, groups: Integers, seed: int, draws: int = 1000) -> None:
        self.groups = np.unique(groups)
        size = len(self.groups)
        self._counts = np.ones((1 + draws, size), np.float32)  # the first counts each group once: the estimate
        random = np.random.default_rng(seed)
        for counts in self._counts[1:]:
            counts[:] = np.bincount(random.integers(size, size=size), minlength=size)

    def rows(self, group: Integers) -> Integers:
        """Where each of these groups is among `groups`."""
        return np.searchsorted(self.groups, group)

    def each(self, statistic: Callable[[Integers], Floats], images: int) -> Interval:
        """The interval of a statistic of the groups' counts: from shape (B, G) to (B,), nan where not defined.

        `images` are those that the statistic looks at.
        """
        parts = np.array_split(self._counts, min(len(self._counts), 1 + len(self._counts) * images // BLOCK))
        return self._interval(np.concatenate([statistic(part.astype(np.int64)) for part in parts]))

    def ratio(self, numerator: Numbers, denominator: Numbers) -> Interval:
        """The interval of sum over sum, of one whole number a group each, shape (G,)."""
        sums = (self._counts @ np.stack([numerator, denominator], axis=1).astype(np.float32)).astype(np.float64)
        return self._interval(_divide(sums[:, 0], sums[:, 1]))

    def _interval(self, values: Floats) -> Interval:
        if len(self.groups) < 2:
            return Interval(float(values[0]) if len(self.groups) else np.nan, np.nan, np.nan, len(self.groups))
        return percentile_interval(float(values[0]), values[1:], 0.95, len(self.groups))


def auroc(attacked: Scored, clean: Scored, resamples: Resamples) -> Interval:
    """P(score of an attacked image > score of a clean one), ties counted half; nan where either is empty."""
    attacked, clean = _ascending(attacked), _ascending(clean)
    left, right = (np.searchsorted(clean.score, attacked.score, side) for side in ("left", "right"))
    rows, clean_rows = resamples.rows(attacked.group), resamples.rows(clean.group)

    def statistic(counts: Integers) -> Floats:
        weight, below = counts.take(rows, 1), _running(counts.take(clean_rows, 1))
        won = np.einsum("bn,bn->b", weight, below.take(left, 1) + below.take(right, 1))
        return _divide(won / 2, weight.sum(1) * below[:, -1])

    return resamples.each(statistic, max(len(rows), len(clean_rows)))


def average_precision(attacked: Scored, clean: Scored, resamples: Resamples) -> Interval:
    """AUPRC as average precision; a score without information has the prevalence, the share that is attacked.

    nan where either is empty.
    """
    attacked, clean = _ascending(attacked), _ascending(clean)
    found, wrong = (np.searchsorted(other.score, attacked.score, "left") for other in (attacked, clean))
    rows, clean_rows = resamples.rows(attacked.group), resamples.rows(clean.group)

    def statistic(counts: Integers) -> Floats:
        weight = counts.take(rows, 1)
        below, clean_below = _running(weight), _running(counts.take(clean_rows, 1))
        at_least = below[:, -1:] - below.take(found, 1)
        wrongly = clean_below[:, -1:] - clean_below.take(wrong, 1)
        precision = at_least / np.maximum(at_least + wrongly, 1)  # 0 / 0 has no weight
        mean = _divide(np.einsum("bn,bn->b", weight, precision), below[:, -1])
        return np.where(clean_below[:, -1] > 0, mean, np.nan)

    return resamples.each(statistic, max(len(rows), len(clean_rows)))


def threshold(clean: Floats, rate: float) -> float:
    """The lowest of the clean scores above which lies at most this share of them.

    Raises:
        ValueError: there is no score.
    """
    if not len(clean):
        raise ValueError("a threshold needs the scores of clean validation images, got none.")
    return float(np.sort(clean)[::-1][int(rate * len(clean) + 1e-9)])


def share(hits: Flags, group: Integers, resamples: Resamples) -> Interval:
    """The share of images that are hit: a TPR, or a rate of false rejections, of `score > threshold`; nan of none."""
    rows, size = resamples.rows(group), len(resamples.groups)
    return resamples.ratio(np.bincount(rows, hits, size), np.bincount(rows, minlength=size))


def _ascending(scored: Scored) -> Scored:
    order = np.argsort(scored.score, kind="stable")
    return Scored(scored.score[order], scored.group[order])


def _running(weight: Integers) -> Integers:
    """Sums of the first 0, 1, ..., N weights of each row, shape (B, N + 1)."""
    sums = np.zeros((len(weight), weight.shape[1] + 1), np.int64)
    np.cumsum(weight, axis=1, out=sums[:, 1:])
    return sums


def _divide(numerator: Numbers, denominator: Numbers) -> Floats:
    result = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
