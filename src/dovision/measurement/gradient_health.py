"""Counters of a run's attacks: gradients that are zero or broken, and the forward passes that attacks take."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from dovision.interfaces import Attack
from dovision.results.detection_tables import MASKED

log = logging.getLogger(__name__)
_DEAD, _GRADIENTS = "dead_gradients", "gradients"


def count_dead_gradients(counters: Counter[str], dead: Tensor) -> None:
    """Add clean images by their shares of `dead_gradients`, shape (B,)."""
    dead = dead.cpu()
    finite = dead[dead.isfinite()]
    counters[_DEAD] += finite.sum(dtype=torch.float64).item()  # type: ignore[assignment]  # a sum of shares
    counters[_GRADIENTS] += len(finite)


def dead_gradient_share(counters: Counter[str]) -> float:
    """Mean share of pixels with zero or NaN gradients over clean images; nan before the first."""
    return counters[_DEAD] / counters[_GRADIENTS] if counters[_GRADIENTS] else math.nan


def warn_of_dead_gradients(counters: Counter[str]) -> None:
    """Log a warning if an attack may have failed for lack of gradients."""
    if (share := dead_gradient_share(counters)) > MASKED:
        log.warning(
            "%.0f%% of the gradients are zero or not finite: attacks by gradient may fail, which is no sign of "
            "robustness. Try the loss margin, or the attack square, which needs none.",
            100 * share,
        )


def count_passes(counters: Counter[str], name: str, passes: Mapping[float, int], images: int) -> None:
    """Add an attack's forward passes, of one image each, by epsilon, on so many images."""
    counters[f"{name} images"] += images
    counters.update({f"{name} {eps:g}": count for eps, count in passes.items()})


def queries(counters: Counter[str], name: str, attack: Attack) -> dict[str, float]:
    """Mean forward passes of an attack per image, by epsilon but 0; empty before the first image."""
    images = counters[f"{name} images"]
    return {f"{eps:g}": counters[f"{name} {eps:g}"] / images for eps in attack.eps if eps > 0} if images else {}
