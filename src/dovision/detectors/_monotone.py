"""Scores that rise with each feature: boosted trees, and a network whose gradient stands for theirs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from dovision.functional.filters import straight_through
from dovision.functional.rng import generator

Column = npt.NDArray[np.float64]
ADAM_STEP = 0.03  # of Adam, on the network's parameters
WEIGHT_PENALTY = 1e-3  # penalty on the network's squared weights


class MonotoneNetwork(NamedTuple):
    """Sum of increasing functions of standardised features, linear and tanh, with non-negative weights."""

    mean: Tensor  # (F,)
    scale: Tensor  # (F,) standard deviation; 1 of what never varied
    direct: Tensor  # (F,) weights of the linear function
    inner: Tensor  # (F, H) weights inside of tanh
    shift: Tensor  # (H,) added to them
    outer: Tensor  # (H,) weights outside
    bias: Tensor  # ()

    def logit(self, features: Tensor) -> Tensor:
        """Log-odds of attacked, shape (B,), from features, shape (B, F); differentiable, and nowhere flat."""
        mean, scale, direct, inner, shift, outer, bias = (tensor.to(features) for tensor in self)
        rows = (features - mean) / scale
        return rows @ direct + (rows @ inner + shift).tanh() @ outer + bias


@dataclass
class MonotoneScore:
    """Log-odds by boosted trees; the gradient is that of a network fitted to them on demand."""

    trees: HistGradientBoostingClassifier
    rows: Tensor  # (N, F) that the trees were fitted to
    weight: Tensor  # (N,) of each, such that both kinds have the same
    hidden: int  # units of the network
    steps: int  # of its fit
    seed: int  # of its first weights

    @cached_property
    def network(self) -> MonotoneNetwork:
        """Network fitted to the trees' probabilities; only needed for gradients."""
        probability = torch.from_numpy(self.trees.predict_proba(self.rows.numpy())[:, 1])
        return fit_network(self.rows, probability, self.weight, self.hidden, self.steps, self.seed)

    def logit(self, features: Tensor) -> Tensor:
        """Log-odds of attacked, shape (B,), from features, shape (B, F)."""
        boosted = torch.from_numpy(self.trees.decision_function(features.detach().double().cpu().numpy()))
        score = boosted.to(features)
        if features.requires_grad and torch.is_grad_enabled():
            return straight_through(self.network.logit(features), score)
        return score


def fit_monotone(
    clean: Tensor, attacked: Tensor, trees: HistGradientBoostingClassifier, hidden: int, steps: int, seed: int
) -> MonotoneScore:
    """Fit monotone trees to clean and attacked rows, shapes (N, F) and (M, F).

    Args:
        trees: not fitted; its constraints are set here.
        hidden: units of the network that stands for them.
        steps: of its fit, each on all rows.
        seed: of its first weights.
    """
    rows = torch.cat([clean, attacked]).double().cpu()
    attack = np.repeat([0, 1], [len(clean), len(attacked)])
    weight = (len(rows) / (2 * np.bincount(attack)))[attack]
    rounded = np.stack([_rounded(column, weight, trees.max_bins) for column in rows.T.numpy()], 1)
    trees = trees.set_params(monotonic_cst=[1] * rows.shape[1]).fit(rounded, attack)
    return MonotoneScore(trees, rows, torch.from_numpy(weight), hidden, steps, seed)


def _rounded(column: Column, weight: Column, bins: int) -> Column:
    """Round numbers, shape (N,), to at most `bins` quantiles, unless they have no more distinct values.

    The trees put thresholds halfway between the numbers that they are fitted to, so rounding changes nothing in how
    they read others. Of more numbers with weights they would sort a feature once for each quantile, which takes ten
    times as long as the rest of a fit.
    """
    if len(np.unique(column)) <= bins:
        return column
    order = np.argsort(column)
    share = np.cumsum(weight[order])
    places = np.searchsorted(share, np.linspace(0, share[-1], bins)).clip(max=len(column) - 1)
    quantiles = np.unique(column[order][places])
    return quantiles[np.searchsorted((quantiles[1:] + quantiles[:-1]) / 2, column)]


@torch.enable_grad()
def fit_network(
    rows: Tensor, probability: Tensor, weight: Tensor, hidden: int, steps: int, seed: int
) -> MonotoneNetwork:
    """Fit to probabilities, shape (N,), of weighted rows, shape (N, F), by cross-entropy in double precision."""
    random = generator(seed)
    mean, scale = rows.mean(0), rows.std(0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)
    features = rows.shape[1]
    shapes = {"direct": (features,), "inner": (features, hidden), "shift": (hidden,), "outer": (hidden,), "bias": ()}
    free = {
        name: torch.randn(shape, generator=random, dtype=torch.float64).sub(2).requires_grad_()
        if name in ("direct", "inner", "outer")
        else torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }
    optimizer = torch.optim.Adam(free.values(), lr=ADAM_STEP)
    for _ in range(steps):
        network = _constrained(mean, scale, free)
        loss = F.binary_cross_entropy_with_logits(network.logit(rows), probability, weight)
        size = sum(
            (weights.square().sum() for weights in (network.direct, network.inner, network.outer)), loss.new_zeros(())
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss + WEIGHT_PENALTY * size)
        optimizer.step()
    return MonotoneNetwork(*(tensor.detach() for tensor in _constrained(mean, scale, free)))


def _constrained(mean: Tensor, scale: Tensor, free: dict[str, Tensor]) -> MonotoneNetwork:
    """Network from unconstrained parameters."""
    direct, inner, outer = (F.softplus(free[name]) for name in ("direct", "inner", "outer"))
    return MonotoneNetwork(mean, scale, direct, inner, free["shift"], outer, free["bias"])
