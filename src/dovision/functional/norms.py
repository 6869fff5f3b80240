"""Norms of perturbations, sparse projections, the budget of an attack, and the name of the condition of an epsilon."""

from __future__ import annotations

import torch
from torch import Tensor

SPATIAL = "spatial"  # the budget of movements of the whole image, which no norm of pixels measures
ORDERS = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}


def size(delta: Tensor, norm: str) -> Tensor:
    """The Linf, L2 or L1 norm of each perturbation, shape (B,), in pixel units; zero for `SPATIAL`."""
    if norm == SPATIAL:
        return delta.new_zeros(len(delta))
    return delta.flatten(1).norm(p=ORDERS[norm], dim=1)


def keep_largest(values: Tensor, k: int) -> Tensor:
    """Project onto vectors of k entries: keep the k largest of the last axis, and zero all others; same shape."""
    top = values.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(values).scatter(-1, top.indices, top.values)


def check_budget(attack: str, attacked: Tensor, image: Tensor, eps: float, norm: str) -> Tensor:
    """Return attacked images if they lie in [0, 1] and within eps of the images, both of shape (B, C, H, W).

    Raises:
        RuntimeError: some are not, which is a fault of the attack of this name.
    """
    distance = size(attacked - image, norm).max()
    furthest, low, high = torch.stack([distance, *attacked.aminmax()]).tolist()
    if not (furthest <= eps * (1 + 1e-5) + 1e-6 and low >= 0 and high <= 1):  # written so that NaN fails too
        raise RuntimeError(
            f"{attack} must stay within eps {eps:g} and in [0, 1], got {norm} distance {furthest:g} in "
            f"[{low:g}, {high:g}]. This is a fault of the attack."
        )
    return attacked


def condition_name(eps: float) -> str:
    """Name of the condition of an epsilon: eps=0.1, or eps=8/255 where the decimals would be long."""
    decimal, steps = f"{eps:g}", round(eps * 255)
    exact = len(decimal) > len("0.125") and abs(eps * 255 - steps) < 1e-6
    return f"eps={steps}/255" if exact else f"eps={decimal}"
