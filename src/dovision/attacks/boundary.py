"""The boundary attack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._foolbox_adapter import Nearest, import_foolbox
from dovision.attacks._lp_ball import Ball
from dovision.functional.rng import generator
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class Boundary(Attack):
    """A random walk along the boundary of the classifier, ever nearer to the image, by foolbox.

    It sees decisions alone: no gradient, no probability. It begins at noise that is answered as wanted; an image for
    which no such noise is found stays as it is. One that comes to rest out of budget is moved as far towards that as
    eps allows. Images are attacked one at a time, since foolbox shares its draws between the images of a batch.

    Args:
        eps: one epsilon or several, L2 in pixel units.
        steps: of the walk; each costs a forward pass, and every tenth two.
        starts: noise images tried to begin with.
        spherical_step: the first step around the image, as a share of the distance to it.
        source_step: the first step towards the image, as a share of the distance to it.
        seed: of all draws; they depend on (seed, sample) alone.
        target: a class, name or number, as of `Objective`; None for any wrong answer.

    Raises:
        ImportError: foolbox is not installed.

    Source: arXiv:1712.04248.
    """

    stops_early = True

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        steps: int,
        starts: int = 100,
        spherical_step: float = 0.1,
        source_step: float = 0.01,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, "l2")
        attacks = import_foolbox().attacks
        self.begin = attacks.LinearSearchBlendedUniformNoiseAttack(
            directions=checks.positive_int("starts", starts), steps=50
        )
        self.walk = attacks.BoundaryAttack(
            steps=checks.positive_int("steps", steps),
            spherical_step=checks.positive("spherical_step", spherical_step),
            source_step=checks.positive("source_step", source_step),
        )
        self.nearest = Nearest(self._search, target)
        self.seed = checks.count("seed", seed)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.nearest.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return torch.cat([self._alone(batch.rows([row]), classifier, eps) for row in range(len(batch.sample))])

    def _alone(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # foolbox draws from torch's own state
            torch.manual_seed(generator(self.seed, int(batch.sample)).initial_seed())
            return self.nearest(Ball(batch.image, eps, self.norm), batch, classifier)

    def _search(self, model: Any, image: Tensor, criterion: Any) -> Tensor:
        start = self.begin.run(model, image, criterion)
        if not criterion(start, model(start)).all():
            return image
        return self.walk.run(model, image, criterion, starting_points=start)
