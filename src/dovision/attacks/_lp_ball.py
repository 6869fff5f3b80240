"""The budget of an attack: the images that it may choose from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dovision.functional.norms import size
from dovision.functional.rng import generator, uniform


class Ball(NamedTuple):
    """Images in [0, 1] within eps of a centre, in pixel units."""

    centre: Tensor  # (B, C, H, W) in [0, 1]
    eps: float  # above 0
    norm: str  # linf, l2 or l1

    def project(self, image: Tensor) -> Tensor:
        """Move images, shape (B, C, H, W), into the ball, then clip them to [0, 1].

        Linf: each pixel by itself; else the perturbation is scaled, which is the projection in L2.
        """
        delta = image - self.centre
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * (self.eps / column(size(delta, self.norm)).clamp(min=self.eps))
        return (self.centre + delta).clamp(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Unit step of steepest ascent, shape (B, C, H, W), for a gradient of that shape.

        Zero where the gradient is zero or not finite.
        """
        return gradient.nan_to_num(0, 0, 0).sign() if self.norm == "linf" else unit(gradient)

    def draw(self, sample: Tensor, seed: int, restart: int) -> Tensor:
        """Draw images uniformly from the ball, shape (B, C, H, W), clipped to [0, 1].

        Each is drawn from (seed, sample, restart) alone.
        """
        shape = self.centre.shape[1:]
        if self.norm == "linf":
            delta = uniform(shape, seed, sample, restart) * 2 - 1
        else:
            random = [generator(seed, one, restart) for one in sample.tolist()]
            normal = torch.stack([torch.randn(shape, generator=one) for one in random])
            radius = torch.stack([torch.rand((), generator=one) for one in random]) ** (1 / shape.numel())
            delta = normal * column(radius / size(normal, "l2"))
        return self.project(self.centre + self.eps * delta.to(self.centre))


def unit(gradient: Tensor) -> Tensor:
    """Normalise gradients, shape (B, C, H, W), to L2 norm 1; zero where the norm is zero or not finite."""
    scaled = scaled_to_one(gradient)  # the squares of a saturated softmax's gradient would underflow
    return scaled / column(size(scaled, "l2").clamp(min=1))


def scaled_to_one(gradient: Tensor) -> Tensor:
    """Divide gradients, shape (B, C, H, W), by their largest size, so that norms cannot overflow."""
    gradient = gradient.nan_to_num(0, 0, 0)
    return gradient / column(size(gradient, "linf").clamp(min=torch.finfo(gradient.dtype).tiny))


def column(numbers: Tensor) -> Tensor:
    """Reshape one number per image, (B,), to (B, 1, 1, 1)."""
    return numbers.view(-1, 1, 1, 1)
