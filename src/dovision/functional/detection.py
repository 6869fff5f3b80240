"""AUROC and operating points of a detection score, with intervals over whole groups: pure functions.

A group's (patient's) images count together, in whatever condition they are. The error of an area follows from what each
image adds to it, in one pass over the sorted scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from dovision.functional.intervals import (
    LEVEL,
    NOT_MEASURED,
    Number,
    difference_interval,
    stratified_interval,
    withheld,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
OTHER_IMAGES = "the scores are of different attacked images, such as those of epsilons with noise alone"


class Scored(NamedTuple):
    """Scores of images, shape (N,), and the group (patient) of each."""

    score: Floats
    group: Integers


def auroc(attacked: Scored, clean: Scored, level: float = LEVEL) -> Number:
    """P(score of an attacked image > score of a clean one), ties counted half; nan where either is empty.

    Source of the error: DeLong et al., Comparing the areas under correlated receiver operating characteristic curves,
    1988; for groups Obuchowski, Nonparametric analysis of clustered ROC curve data, 1997.
    """
    return pooled_auroc([(attacked, clean)], level)


def pooled_auroc(strata: Sequence[tuple[Scored, Scored]], level: float = LEVEL) -> Number:
    """AUROC of attacked images, each against the clean ones of its own stratum, as `auroc`.

    The mean of the areas of the strata, weighted by their attacked images; strata in which there is nothing to compare
    count for nothing.
    """
    comparable = [pair for pair in strata if all(len(scored.score) for scored in pair)]
    attacked, clean = (_joined([pair[side] for pair in comparable or strata]) for side in (0, 1))
    if not comparable:
        return _nothing(attacked, clean)
    area, *added = _areas_of_images(comparable)
    groups = [attacked.group, clean.group]
    return stratified_interval(area, np.concatenate(added), np.concatenate(groups), groups, level)


def auroc_difference(
    first: Sequence[tuple[Scored, Scored]], second: Sequence[tuple[Scored, Scored]], level: float = LEVEL
) -> Number:
    """Pooled AUROC of one score minus that of another on the same attacked images.

    Args:
        first, second: strata of attacked and clean images, as of `pooled_auroc`; the strata, and the clean images of
            them, may differ.
        level: of the interval.

    Returns:
        The difference, in [-1, 1]; its paired interval follows from what each group adds to both areas (DeLong, 1988);
        nan with the reason OTHER_IMAGES where the groups of attacked images differ.
    """
    sides = [[pair for pair in strata if all(len(scored.score) for scored in pair)] for strata in (first, second)]
    joined = [[_joined([pair[side] for pair in strata]) for side in (0, 1)] for strata in sides]
    if not np.array_equal(np.sort(joined[0][0].group), np.sort(joined[1][0].group)):
        return withheld(np.nan, len(np.union1d(joined[0][0].group, joined[1][0].group)), OTHER_IMAGES)
    if not all(sides):
        return _nothing(*joined[0])
    (area, *of_images), (other, *of_others) = map(_areas_of_images, sides)
    added = np.concatenate([*of_images, *(-rows for rows in of_others)])
    groups = [scored.group for pair in joined for scored in pair]
    return difference_interval(area - other, added, np.concatenate(groups), groups, level=level)


def _areas_of_images(strata: Sequence[tuple[Scored, Scored]]) -> tuple[float, Floats, Floats]:
    """Pooled area under the ROC curve, and the contribution of each attacked and each clean image."""
    total = sum(len(attacked.score) for attacked, _ in strata)
    won = [_won(attacked.score, clean.score) for attacked, clean in strata]
    lost = [1 - _won(clean.score, attacked.score) for attacked, clean in strata]
    area = float(np.concatenate(won).mean())
    added = [
        (of_clean - wins.mean()) * len(wins) / (total * len(of_clean)) for wins, of_clean in zip(won, lost, strict=True)
    ]
    return area, (np.concatenate(won) - area) / total, np.concatenate(added)


def threshold(clean: Floats, rate: float) -> float:
    """Threshold that rejects at most `rate` of clean images with a confidence of LEVEL; nan of too few scores.

    The (k + 1)-th largest of n clean scores, with the largest k for which P(Bin(n, rate) <= k) <= 1 - LEVEL.

    Args:
        clean: scores of clean validation images that the detector was not fitted to, shape (n,).
        rate: the false positive rate, in (0, 1).

    Raises:
        ValueError: there is no score.

    Source: Wilks, Determination of sample sizes for setting tolerance limits, 1941.
    """
    if not len(clean):
        raise ValueError("a threshold needs the scores of clean validation images, got none.")
    below = special.bdtr(np.arange(len(clean)), len(clean), rate) <= 1 - LEVEL
    return float(np.sort(clean)[-below.sum()]) if below.any() else math.nan


def fewest_for_threshold(rate: float) -> int:
    """Smallest number of clean scores with a threshold at this rate."""
    return math.ceil(math.log(1 - LEVEL) / math.log(1 - rate) - 1e-9)


def _won(scores: Floats, others: Floats) -> Floats:
    """Share of the other scores below each score, ties counted half."""
    ordered = np.sort(others)
    left, right = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return (left + right) / (2 * len(others))


def _joined(scored: Sequence[Scored]) -> Scored:
    if not scored:
        return Scored(np.zeros(0), np.zeros(0, np.int64))
    return Scored(
        np.concatenate([images.score for images in scored]), np.concatenate([images.group for images in scored])
    )


def _nothing(attacked: Scored, clean: Scored) -> Number:
    return withheld(np.nan, len(np.union1d(attacked.group, clean.group)), NOT_MEASURED)
