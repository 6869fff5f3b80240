"""The square attack: a random search that asks for answers alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dovision import checks
from dovision.attacks import _squares
from dovision.attacks._best_so_far import Candidates, classify
from dovision.attacks._lp_ball import Ball
from dovision.attacks._objective import Objective
from dovision.attacks._per_sample_rng import uniform
from dovision.attacks.losses import Loss, margin
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape

# Queries out of 10,000 at which the area of the squares is halved.
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


class Square(Attack):
    """Squares at random places, kept if they raise the loss; no gradient is used.

    An image is done once its aim is reached, so that easy ones cost few queries.

    Args:
        eps: one epsilon or several, in pixel units; numbers or fractions such as "8/255".
        queries: forward passes an image may cost.
        area: of the first square, as a share of the image's, in (0, 1].
        norm: linf or l2.
        loss: what is raised.
        target: a class, name or number, as of `Objective`; None for any wrong answer.
        seed: of all draws; they depend on (seed, sample) alone.

    Source: arXiv:1912.00049.
    """

    stops_early = True

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        queries: int,
        area: float = 0.8,
        norm: str = "linf",
        loss: Loss = margin,
        target: int | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(eps, norm)
        self.objective = Objective(loss, target)
        self.most_queries = checks.positive_int("queries", queries)
        self.area = checks.within("area", checks.positive("area", area), 0, 1)
        self.seed = checks.count("seed", seed)

    @torch.no_grad()
    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        ball = Ball(batch.image, eps, self.norm)
        channels, height, width = batch.image.shape[1:]
        shape = (self.most_queries, _squares.DRAWS + channels)
        draws = uniform(shape, self.seed, batch.sample).to(batch.image.device)
        start = uniform((channels, height, width), self.seed, batch.sample, 0).to(batch.image.device)
        best = classify(_squares.start(ball, start), batch, classifier, self.objective)
        for query in range(1, self.most_queries):
            rows = (~best.reached).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            side = side_of_square(self.area, query / self.most_queries, (height, width), self.norm)
            near = Ball(ball.centre[rows], eps, self.norm)
            image = _squares.step(near, best.image[rows], side, draws[rows, query])
            best = _with_better(best, rows, classify(image, batch.rows(rows), classifier, self.objective))
        return best.image


def _with_better(best: Candidates, rows: Tensor, tried: Candidates) -> Candidates:
    better = Candidates(*(field[rows] for field in best)).or_better(tried)
    return Candidates(*(old.index_copy(0, rows, new) for old, new in zip(best, better, strict=True)))


def side_of_square(area: float, progress: float, size: tuple[int, int], norm: str) -> int:
    """Pixels a side of the squares to be tried, after a share `progress` of all queries.

    Args:
        area: of the first square, as a share of the image's.
        progress: in [0, 1].
        size: height and width of the image.
        norm: linf or l2; squares of l2 are odd and at least 3, so that a bump has a middle.
    """
    height, width = size
    halvings = sum(progress * 10_000 > bound for bound in HALVED_AT)
    side = round((area / 2**halvings * height * width) ** 0.5)
    side = max(side, 1) if norm == "linf" else max(side, 3) | 1
    return min(side, height, width)
