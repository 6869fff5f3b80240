"""The budget of an attack: the images that it may choose from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dovision.functional.norms import size
from dovision.functional.rng import generator, uniform

L1_SHARE = 0.02  # share of the pixels that a step in L1 moves
HALVINGS = 30  # which halve the largest size


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
        elif self.norm == "l1":
            delta = self._nearest_in_l1(delta)
        else:
            delta = delta * (self.eps / column(size(delta, self.norm)).clamp(min=self.eps))
        return (self.centre + delta).clamp(0, 1)

    def _nearest_in_l1(self, delta: Tensor) -> Tensor:
        """Nearest perturbations within eps in L1 that keep images in [0, 1]: all sizes fall by one amount, or to 0.

        Source: Croce and Hein, ICML 2021, arXiv:2103.01208; the amount is bisected here.
        """
        size_of = delta.abs().minimum(torch.where(delta > 0, 1 - self.centre, self.centre)).flatten(1)
        sizes, most = delta.abs().flatten(1), delta.abs().flatten(1).amax(1, keepdim=True)
        low, high = torch.zeros_like(most), most
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            over = (sizes - middle).clamp(min=0).minimum(size_of).sum(1, keepdim=True) > self.eps
            low, high = torch.where(over, middle, low), torch.where(over, high, middle)
        amount = torch.where(size_of.sum(1, keepdim=True) > self.eps, high, 0.0)
        return (sizes - amount).clamp(min=0).minimum(size_of).view_as(delta) * delta.sign()

    def steepest(self, gradient: Tensor, image: Tensor | None = None) -> Tensor:
        """Unit step of steepest ascent, shape (B, C, H, W), for a gradient of that shape.

        Zero where the gradient is zero or not finite. In L1 it is shared by the pixels with the largest gradients, of
        those that have room in [0, 1] if the image is given, which converges faster than one pixel at a time.

        Source: of L1, Tramer and Boneh, NeurIPS 2019, arXiv:1904.13000.
        """
        if self.norm == "linf":
            return gradient.nan_to_num(0, 0, 0).sign()
        if self.norm == "l2":
            return unit(gradient)
        gradient = scaled_to_one(gradient)
        if image is not None:
            gradient = gradient * torch.where(gradient > 0, image < 1, image > 0)
        flat = gradient.flatten(1)
        chosen = flat.abs().topk(max(1, round(L1_SHARE * flat.shape[1])), 1).indices
        signs = torch.zeros_like(flat).scatter(1, chosen, flat.gather(1, chosen).sign())
        return (signs / signs.abs().sum(1, keepdim=True).clamp(min=1)).view_as(gradient)

    def draw(self, sample: Tensor, seed: int, restart: int) -> Tensor:
        """Draw images uniformly from the ball, shape (B, C, H, W), clipped to [0, 1].

        Each is drawn from (seed, sample, restart) alone.
        """
        shape = self.centre.shape[1:]
        if self.norm == "linf":
            delta = uniform(shape, seed, sample, restart) * 2 - 1
        else:
            random = [generator(seed, one, restart) for one in sample.tolist()]
            drawn = torch.stack([torch.randn(shape, generator=one) for one in random])
            radius = torch.stack([torch.rand((), generator=one) for one in random]) ** (1 / shape.numel())
            if self.norm == "l1":  # uniform on a sphere in L1 if exponential
                drawn = drawn.sign() * -torch.special.log_ndtr(-drawn.abs()).add(math.log(2))
            delta = drawn * column(radius / size(drawn, self.norm))
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
