"""Estimates of how an approximate map agrees with the exact one, from some of its units: pure functions.

Exact are the units of the top decile by the size of the approximate effect, and some of the others, chosen at random,
each of which stands for several.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dovision.functional import rng
from dovision.types import Task

_Effects = npt.NDArray[np.float64]

FROZEN_SCALES, BF16_DIFFERENCE = "frozen_scales", "bf16_difference"  # approximations, see `propagation.engine_choice`
LEAST_AGREEMENT = {  # rank correlation and overlap, below which an approximation is refused
    FROZEN_SCALES: (0.9, 0.9),
    BF16_DIFFERENCE: (0.999, 0.95),
}
TOP = 0.1  # share of the units whose effects are largest
RANDOM = 0.05  # share of the others that are measured exactly
FIRST_CHECKED = 16  # images by number, all of which are checked
CHECKED = {FROZEN_SCALES: 1, BF16_DIFFERENCE: 8}  # of the others, one of so many
_LEAST_RANDOM = 10  # units


def weights(effect: _Effects, sample: int) -> _Effects:
    """Weight of each unit in the check of an approximation, shape (U,): 1 in the top decile, 0 if unchecked.

    Args:
        effect: approximate effects, shape (U,).
        sample: number of the image, on which the random choice depends.
    """
    top = in_top(effect)
    others = np.flatnonzero(~top)
    chosen = min(len(others), max(_LEAST_RANDOM, round(RANDOM * len(effect))))
    order = np.random.default_rng(rng.generator(0, sample).initial_seed()).permutation(len(others))
    weight = top.astype(np.float64)
    if chosen:
        weight[others[order[:chosen]]] = len(others) / chosen
    return weight


def in_top(effect: _Effects) -> npt.NDArray[np.bool_]:
    """Return whether each unit is in the top decile by the size of its effect; of equal ones the first are."""
    is_top = np.zeros(len(effect), dtype=bool)
    is_top[np.argsort(-np.abs(effect), kind="stable")[: -(-len(effect) // round(1 / TOP))]] = True
    return is_top


def rank_correlation(approximate: _Effects, exact: _Effects, weight: _Effects) -> float:
    """Weighted Spearman correlation of approximate and exact effects, in [-1, 1]; 1 if all effects are equal."""
    one, other = _ranks(approximate, weight), _ranks(exact, weight)
    deviations = [values - np.average(values, weights=weight) for values in (one, other)]
    spread = [float(weight @ values**2) for values in deviations]
    if max(spread) == 0:
        return 1.0
    if min(spread) == 0:
        return 0.0
    return float(weight @ (deviations[0] * deviations[1]) / np.sqrt(spread[0] * spread[1]))


def _ranks(values: _Effects, weight: _Effects) -> _Effects:
    """Weighted rank of each value, ties at their mean rank."""
    _, rank = np.unique(values, return_inverse=True)
    total = np.bincount(rank, weights=weight)
    ranks: _Effects = (np.cumsum(total) - total / 2)[rank]
    return ranks


def top_overlap(top: npt.NDArray[np.bool_], exact: _Effects, weight: _Effects) -> float:
    """Weighted share of the approximate top decile that lies in the exact one, in [0, 1].

    Of units whose exact effects are equally large those of `top` count first.
    """
    size = weight[top].sum()
    order = np.lexsort((~top, -np.abs(exact)))
    before = np.cumsum(weight[order]) - weight[order]
    share = np.clip(size - before, 0, weight[order])  # of each unit, in the exact top decile
    return float(share[top[order]].sum() / size)


class Approximation(NamedTuple):
    """Estimated agreement of approximate effects on the most probable class with exact ones, by checked image."""

    rank_correlation: Tensor  # (C,) Spearman's, float64, of C <= B images
    top_overlap: Tensor  # (C,) share of the top decile that is in the exact one, float64
    exact: Tensor  # (B, U) bool: the units whose effects are exact
    method: str  # name of the approximation

    @property
    def means(self) -> tuple[float, float]:
        """Mean rank correlation and mean overlap over the images."""
        return self.rank_correlation.mean().item(), self.top_overlap.mean().item()

    def __str__(self) -> str:
        return f"approximate={self.method}: {_sentence(*self.means)}"


def check_agreement(method: str, rank_correlation: float, top_overlap: float) -> None:
    """Raise if an approximation agrees too little with exact effects, averaged over images.

    Raises:
        ValueError: one is below `LEAST_AGREEMENT`.
    """
    least_rank, least_overlap = LEAST_AGREEMENT[method]
    if rank_correlation < least_rank or top_overlap < least_overlap:
        raise ValueError(
            f"approximate={method} must agree with exact effects to {least_rank} in rank correlation and "
            f"{least_overlap} in overlap, got {_sentence(rank_correlation, top_overlap)}. Leave it out: effects are "
            "then exact."
        )


def check_samples(method: str, samples: Iterable[int]) -> None:
    """Raise if an approximation would be checked on none of these images, by their numbers.

    Raises:
        ValueError: `is_checked` is true of none.
    """
    if not any(is_checked(sample, method) for sample in samples):
        raise ValueError(
            f"approximate={method} is checked on images 0 to {FIRST_CHECKED - 1} and an eighth of the others, got a "
            "run with none of them. Evaluate more images, or leave it out."
        )


def _sentence(rank_correlation: float, top_overlap: float) -> str:
    return f"an estimated rank correlation of {rank_correlation:.4f} and overlap of the top decile of {top_overlap:.3f}"


def units_to_check(control: Tensor, treated: Tensor, sample: Tensor, task: Task, method: str) -> np.ndarray:
    """Weights of the units to measure exactly, shape (B, U); see `weights`. All 0 for an image that is not checked."""
    effect = _effect(control, treated, task)
    rows = zip(effect, sample.tolist(), strict=True)
    return np.stack([is_checked(number, method) * weights(row, number) for row, number in rows])


def is_checked(sample: int, method: str) -> bool:
    """Return whether an image is checked, by its number: the first ones, and of the others one in each block."""
    block, number = divmod(sample, CHECKED[method])
    drawn = np.random.default_rng(rng.generator(0, block, 1).initial_seed()).integers(CHECKED[method])
    return bool(sample < FIRST_CHECKED or number == drawn)


def agreement(
    control: Tensor, approximate: Tensor, exact: Tensor, weight: np.ndarray, task: Task, method: str
) -> Approximation:
    """Estimate rank correlation and top-decile overlap from the exactly measured units.

    Args:
        control: logits without an edit, shape (C, K), of the images that are checked.
        approximate, exact: logits after each edit, shape (C, U, K).
        weight: number of units that each one stands for, shape (C, U); 0 where it is not measured exactly.
        task: of the classifier.
        method: name of the approximation.
    """
    effects = [_effect(control, logits, task) for logits in (approximate, exact)]
    ranks, overlaps = [], []
    for rough, precise, weight_of_image in zip(*effects, weight, strict=True):
        some = weight_of_image > 0
        top = in_top(rough)[some]
        ranks.append(rank_correlation(rough[some], precise[some], weight_of_image[some]))
        overlaps.append(top_overlap(top, precise[some], weight_of_image[some]))
    return Approximation(
        torch.tensor(ranks, dtype=torch.float64),
        torch.tensor(overlaps, dtype=torch.float64),
        torch.from_numpy(weight > 0),
        method,
    )


def _effect(control: Tensor, treated: Tensor, task: Task) -> np.ndarray:
    """Effects on the most probable class of each image, shape (B, U)."""
    before = task.probability(control)
    label = before.argmax(-1).view(-1, 1, 1)
    change = task.probability(treated) - before.unsqueeze(1)
    of_label: np.ndarray = change.take_along_dim(label, 2).squeeze(2).double().cpu().numpy()
    return of_label
