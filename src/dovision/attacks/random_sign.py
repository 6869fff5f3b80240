"""Noise as large as an attack, but of no intent."""

from __future__ import annotations

from torch import Tensor

from dovision import checks
from dovision.attacks._lp_ball import Ball
from dovision.functional.rng import as_signs, uniform
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Epsilons


class RandomSign(Attack):
    """Random +eps or -eps noise per pixel, the control condition of every attack.

    A detector that separates attacked images from clean ones only by the size of the perturbation separates these, too.
    The tosses are the same for each epsilon.

    Args:
        eps: as of Attack.
        norm: linf, each pixel by eps; or l2, each by eps / sqrt(number of pixels). Clipped to [0, 1] after that.
        seed: of the tosses; they depend on (seed, sample) alone.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.RandomSign(eps="8/255", seed=0)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(self, eps: Epsilons, norm: str = "linf", seed: int = 0) -> None:
        super().__init__(eps, norm)
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        shape = tuple(batch.image.shape[1:])
        toss = as_signs(uniform(shape, self.seed, batch.sample)).to(batch.image)
        ball = Ball(batch.image, eps, self.norm)
        return ball.project(batch.image + eps * ball.steepest(toss))
