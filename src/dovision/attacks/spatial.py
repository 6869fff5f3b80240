"""Rotations and shifts of the whole image: the worst of a grid, and one of the largest at random as its control."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._objective import ObjectiveAttack, classify
from dovision.attacks.losses import margin
from dovision.functional.filters import rotate, shift
from dovision.functional.norms import SPATIAL
from dovision.functional.rng import uniform
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Epsilons


class Spatial(ObjectiveAttack):
    """The rotation and shift of a grid that raises the margin most; edges repeated.

    Args:
        eps: share of the largest rotation and shift that is allowed, 1 for all of it; one or several.
        degrees: the largest rotation, either way.
        pixels: the largest shift, in rows and in columns, either way; what is left of it is rounded to whole pixels.
        rotations, shifts: numbers of the grid, in angle and in each of rows and columns.
        target: a class, name or number, as of `Objective`; None for any wrong answer.

    Source: Engstrom, Tran, Tsipras, Schmidt and Madry, ICML 2019, arXiv:1712.02779, who fill with black.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.Spatial(eps=1.0, degrees=30, pixels=1, rotations=3, shifts=3)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms = (SPATIAL,)

    def __init__(
        self,
        eps: Epsilons,
        degrees: float,
        pixels: int,
        rotations: int,
        shifts: int,
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, SPATIAL, margin, target)
        self.degrees = checks.within("degrees", degrees, 0, 180)
        self.pixels = checks.count("pixels", pixels)
        self.rotations = checks.positive_int("rotations", rotations)
        self.shifts = checks.positive_int("shifts", shifts)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        steps = sorted(set((torch.linspace(-1, 1, self.shifts) * eps * self.pixels).round().int().tolist()))
        best = classify(batch.image, batch, classifier, self.objective)
        for turn in (torch.linspace(-1, 1, self.rotations) * eps * self.degrees).tolist():
            turned = rotate(batch.image, turn)
            for rows, columns in product(steps, steps):
                moved = shift(turned, rows, columns)
                best = best.or_better(classify(moved, batch, classifier, self.objective))
        return best.image


class RandomSpatial(Attack):
    """The largest rotation and shift of `Spatial`, each in a random direction: its control, not an attack.

    Args:
        eps: as of Spatial.
        degrees, pixels: the largest rotation and shift, as of Spatial.
        seed: of the directions; they depend on (seed, sample) alone.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.RandomSpatial(eps=1.0, degrees=30, pixels=1)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms = (SPATIAL,)
    is_noise = True

    def __init__(self, eps: Epsilons, degrees: float, pixels: int, seed: int = 0) -> None:
        super().__init__(eps, SPATIAL)
        self.degrees = checks.within("degrees", degrees, 0, 180)
        self.pixels = checks.count("pixels", pixels)
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        largest = eps * torch.tensor([self.degrees, self.pixels, self.pixels])
        moves = torch.where(uniform((3,), self.seed, batch.sample) < 0.5, -largest, largest)
        moved = [
            shift(rotate(image, turn), round(rows), round(columns))
            for image, (turn, rows, columns) in zip(torch.split(batch.image, 1), moves.tolist(), strict=True)
        ]
        return torch.cat(moved)
