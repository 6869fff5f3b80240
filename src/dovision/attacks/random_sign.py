"""Random noise of an attack's size, as its control."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.lp_ball import Ball
from dovision.functional.rng import as_signs, uniform
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Epsilons


class RandomSign(Attack):
    """Random +eps or -eps noise per pixel, the control condition of every attack.

    A detector that separates attacked images from clean ones only by the size of the perturbation separates these, too.
    The tosses are the same for each epsilon.

    Args:
        eps: as of Attack.
        norm: linf, each pixel by eps; or l2, each by eps / sqrt(number of pixels). Clipped to [0, 1] after that. Or l1,
            whose corners are single pixels: random ones, each moved as far as [0, 1] goes, until eps is spent.
        seed: of the tosses; they depend on (seed, sample) alone.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.RandomSign(eps="8/255", seed=0)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms = ("linf", "l2", "l1")
    is_noise = True

    def __init__(self, eps: Epsilons, norm: str = "linf", seed: int = 0) -> None:
        super().__init__(eps, norm)
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        shape = tuple(batch.image.shape[1:])
        draw = uniform(shape, self.seed, batch.sample).to(batch.image)
        if self.norm == "l1":
            return _moved_pixels(batch.image, draw, eps)
        ball = Ball(batch.image, eps, self.norm)
        return ball.project(batch.image + eps * ball.steepest(as_signs(draw)))


def _moved_pixels(image: Tensor, draw: Tensor, eps: float) -> Tensor:
    """Images, shape (B, C, H, W), with pixels moved in the order of the draws, of that shape, up to eps in L1."""
    pixels, order = image.flatten(1), draw.flatten(1).argsort(1)
    room = torch.maximum(pixels, 1 - pixels).gather(1, order)
    step = (eps - (room.cumsum(1) - room)).clamp(min=0).minimum(room)
    sign = as_signs(1 - pixels).gather(1, order)
    return (pixels + torch.zeros_like(pixels).scatter(1, order, step * sign)).clamp(0, 1).view_as(image)
