"""Norms of perturbations, and the budget of an attack."""

from __future__ import annotations

import torch
from torch import Tensor


def size(delta: Tensor, norm: str) -> Tensor:
    """The Linf or L2 norm of each perturbation, shape (B,), in pixel units."""
    return delta.flatten(1).norm(p=torch.inf if norm == "linf" else 2, dim=1)


def in_budget(distance: Tensor, eps: float) -> Tensor:
    """Return whether distances, shape (B,), are at most eps, but for rounding; shape (B,) bool."""
    return distance <= eps * (1 + 1e-5) + 1e-6
