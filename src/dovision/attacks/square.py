"""The square attack: a random search that asks for answers alone."""

from __future__ import annotations

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks._objective import ObjectiveAttack, classify
from dovision.attacks.losses import Loss, margin
from dovision.attacks.lp_ball import Ball
from dovision.functional.rng import as_signs, uniform
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons

# Queries out of 10,000 at which the area of the squares is halved.
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)

LOOKED = 16  # queries after which an accelerator is asked, and waited for, which images are done
DRAWS = 5  # numbers that a step needs, besides one a channel


class Square(ObjectiveAttack):
    """Random search with square-shaped changes, kept if they raise the loss; needs no gradient.

    An image is done once its aim is reached, so that easy ones cost few queries; on an accelerator up to 15 more, as
    it is asked every 16 queries alone which are done. The attacked images are the same.

    Args:
        eps, norm: as of Attack.
        queries: forward passes an image may cost.
        area: of the first square, as a share of the image's, in (0, 1].
        loss, target: as of BIM.
        seed: of all draws; they depend on (seed, sample) alone.

    Source: arXiv:1912.00049.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.Square(eps="8/255", queries=20)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        queries: int,
        area: float = 0.8,
        norm: str = "linf",
        loss: Loss = margin,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, norm, loss, target)
        self.max_queries = checks.positive_int("queries", queries)
        self.area = checks.within("area", checks.positive("area", area), 0, 1)
        self.seed = checks.seed(seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        shape = channels, height, width = tuple(batch.image.shape[1:])
        draws = uniform((self.max_queries, DRAWS + channels), self.seed, batch.sample).to(batch.image.device)
        start = uniform(shape, self.seed, batch.sample, 0).to(batch.image.device)
        best = classify(first_candidates(ball, start), batch, classifier, self.objective)
        every = 1 if batch.image.is_cpu else LOOKED
        for query in range(1, self.max_queries):
            if (query - 1) % every == 0:
                rows = (~best.reached).nonzero().squeeze(1)
                if len(rows) == 0:
                    break
                near, wanting = Ball(ball.centre[rows], eps, self.norm), batch.rows(rows)
            side = side_of_square(self.area, query / self.max_queries, (height, width), self.norm)
            image = next_candidates(near, best.image[rows], side, draws[rows, query])
            tried = classify(image, wanting, classifier, self.objective)
            best = best.updated(rows, tried._replace(loss=tried.loss.masked_fill(best.reached[rows], -torch.inf)))
        return best.image


def side_of_square(area: float, progress: float, size: tuple[int, int], norm: str) -> int:
    """Side of the squares, in pixels, after a share `progress` of all queries.

    Squares of l2 are odd and at least 3, so that a bump has a middle. `area` is the first square's share of the image,
    of `size` (height, width).
    """
    height, width = size
    halvings = sum(progress * 10_000 > bound for bound in HALVED_AT)
    side = round((area / 2**halvings * height * width) ** 0.5)
    side = max(side, 1) if norm == "linf" else max(side, 3) | 1
    return min(side, height, width)


def first_candidates(ball: Ball, draw: Tensor) -> Tensor:
    """Initial images, shape (B, C, H, W), from uniform numbers of that shape.

    Linf: vertical stripes of +eps and -eps, one pixel wide. L2: five by five bumps around the middle.
    """
    sign = as_signs(draw).to(ball.centre)
    if ball.norm == "linf":
        return ball.project(ball.centre + ball.eps * sign[:, :, :1])
    height, width = sign.shape[2:]
    side, down, across = max(min(height, width) // 5, 1), min(height, 5), min(width, 5)
    signs = sign[:, :, :down, :across].repeat_interleave(side, 2).repeat_interleave(side, 3)
    top, left = (height - down * side) // 2, (width - across * side) // 2
    delta = torch.zeros_like(sign)
    delta[:, :, top : top + down * side, left : left + across * side] = signs * bump(side).to(sign).repeat(down, across)
    return ball.project(ball.centre + ball.eps * ball.steepest(delta))


def next_candidates(ball: Ball, image: Tensor, side: int, draw: Tensor) -> Tensor:
    """Images, shape (B, C, H, W), changed within squares of this side.

    Linf: one square becomes +eps or -eps, channel by channel. L2: the perturbation of one square is taken away, and
    what is left of the budget goes into a bump on another one.

    Args:
        draw: shape (B, DRAWS + C), numbers in [0, 1).
    """
    sign = as_signs(draw[:, DRAWS:, None, None]).to(image)
    first = Windows(draw[:, 0], draw[:, 1], side, image)
    if ball.norm == "linf":
        return torch.where(first.inside, ball.centre + ball.eps * sign, image).clamp(0, 1)
    second = Windows(draw[:, 2], draw[:, 3], side, image)
    turned = (draw[:, 4] >= 0.5).view(-1, 1, 1, 1)
    shape = bump(side).to(image)
    bumps = torch.where(turned, first.filled(shape.T), first.filled(shape))
    return ball.project(ball.centre + _moved(ball, image - ball.centre, first.inside, second.inside, sign * bumps))


def _moved(ball: Ball, delta: Tensor, into: Tensor, out_of: Tensor, bumps: Tensor) -> Tensor:
    """Move the perturbation, shape (B, C, H, W), from one window to another, shapes (B, 1, H, W) bool."""
    unused = (ball.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp(min=0)
    available = (_channel_norm(delta * (into | out_of)).square() + unused / delta.shape[1]).sqrt()
    mixed = bumps + _unit(delta * into)
    return torch.where(into, _unit(mixed) * available, delta * ~out_of)


def _channel_norm(delta: Tensor) -> Tensor:
    """L2 norm of each channel, shape (B, C, 1, 1)."""
    return delta.square().sum((2, 3), keepdim=True).sqrt()


def _unit(delta: Tensor) -> Tensor:
    return delta / _channel_norm(delta).clamp(min=torch.finfo(delta.dtype).tiny)


class Windows:
    """One square window per image, at a random position.

    Args:
        down, across: where it lies, shape (B,), numbers in [0, 1).
        side: in pixels.
        image: shape (B, C, H, W).
    """

    def __init__(self, down: Tensor, across: Tensor, side: int, image: Tensor) -> None:
        self.side = side
        self.row, self.column = (
            torch.arange(length, device=image.device)
            - (share * (length - side + 1)).long().clamp(max=length - side).unsqueeze(1)  # rounding may reach one more
            for share, length in ((down, image.shape[2]), (across, image.shape[3]))
        )  # (B, H) and (B, W), counted from the window's corner
        rows, columns = ((index >= 0) & (index < side) for index in (self.row, self.column))
        self.inside = (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)  # (B, 1, H, W)

    def filled(self, value: Tensor) -> Tensor:
        """Place `value`, shape (side, side), into the window, with zeros outside; shape (B, 1, H, W)."""
        row, column = (index.clamp(0, self.side - 1) for index in (self.row, self.column))
        return value[row[:, :, None], column[:, None, :]].unsqueeze(1) * self.inside


def bump(side: int) -> Tensor:
    """Two adjacent peaks of opposite sign with L2 norm 1; shape (side, side).

    Source: arXiv:1912.00049, equation 2.
    """
    half = side // 2
    both = torch.cat([_peak(half, side), -_peak(side - half, side)])
    return both / both.norm()


def _peak(height: int, width: int) -> Tensor:
    """Rectangle whose value falls with each ring around its middle."""
    rings = max(height, width) // 2 + 1
    weight = 1 / torch.arange(1, rings + 1).square()
    by_ring = weight.flip(0).cumsum(0).flip(0)  # the sum of a ring's weight and those further out
    down, across = (torch.arange(height) - height // 2).abs(), (torch.arange(width) - width // 2).abs()
    peak = by_ring[torch.maximum(down[:, None], across[None, :])]
    return peak / peak.norm()
