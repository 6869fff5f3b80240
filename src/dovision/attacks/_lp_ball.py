"""The budget of an attack: the images that it may choose from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dovision.functional.norms import size
from dovision.functional.rng import generator, uniform


class Ball(NamedTuple):
    """All images in [0, 1] that are at most eps away from their centre, in pixel units."""

    centre: Tensor  # (B, C, H, W) in [0, 1]
    eps: float  # above 0
    norm: str  # linf or l2

    def project(self, image: Tensor) -> Tensor:
        """The images, shape (B, C, H, W), brought within eps of their centre, and then into [0, 1]."""
        delta = image - self.centre
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * (self.eps / column(size(delta, "l2")).clamp(min=self.eps))
        return (self.centre + delta).clamp(0, 1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The step of size one up which a loss rises most, shape (B, C, H, W), from its gradient, of that shape.

        Zero where the gradient is zero or not finite.
        """
        return gradient.nan_to_num(0, 0, 0).sign() if self.norm == "linf" else unit(gradient)

    def draw(self, sample: Tensor, seed: int, restart: int) -> Tensor:
        """Images drawn uniformly from within eps, shape (B, C, H, W), brought into [0, 1].

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
    """Gradients, shape (B, C, H, W), divided by their L2 norm; zero where it is zero or not finite."""
    scaled = scaled_to_one(gradient)  # the squares of a saturated softmax's gradient would underflow
    return scaled / column(size(scaled, "l2").clamp(min=1))


def scaled_to_one(gradient: Tensor) -> Tensor:
    """Gradients, shape (B, C, H, W), divided by their largest size, 0 where not finite: no norm leaves the floats."""
    gradient = gradient.nan_to_num(0, 0, 0)
    return gradient / column(size(gradient, "linf").clamp(min=torch.finfo(gradient.dtype).tiny))


def column(numbers: Tensor) -> Tensor:
    """One number an image, shape (B,), as shape (B, 1, 1, 1)."""
    return numbers.view(-1, 1, 1, 1)
