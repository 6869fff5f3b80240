"""DeepFool."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from dovision import checks
from dovision.attacks._foolbox_adapter import Nearest, import_foolbox
from dovision.attacks._lp_ball import Ball
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class DeepFool(Attack):
    """Steps to the nearest boundary of the classifier as if it were linear, by foolbox.

    An image of which the nearest adversarial one is out of budget is moved as far towards that as eps allows.

    Args:
        eps: one epsilon or several, in pixel units; numbers or fractions such as "8/255".
        steps: at most, each a gradient per image and class.
        overshoot: share by which the step goes beyond the boundary.
        candidates: only so many classes, the most likely ones, are considered.
        norm: linf or l2.
        target: a class, name or number, as of `Objective`; None for any wrong answer.

    Raises:
        ImportError: foolbox is not installed.

    Source: arXiv:1511.04599.
    """

    stops_early = True

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        steps: int,
        overshoot: float = 0.02,
        candidates: int = 10,
        norm: str = "linf",
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, norm)
        attacks = import_foolbox().attacks
        peer = attacks.LinfDeepFoolAttack if norm == "linf" else attacks.L2DeepFoolAttack
        self.peer = peer(
            steps=checks.positive_int("steps", steps),
            candidates=int(checks.at_least("candidates", candidates, 2)),
            overshoot=checks.at_least("overshoot", overshoot, 0),
        )
        self.nearest = Nearest(self._search, target)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.nearest.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.nearest(Ball(batch.image, eps, self.norm), batch, classifier)

    def _search(self, model: Any, image: Tensor, criterion: Any) -> Tensor:
        with silent(logging.getLogger()):  # foolbox repeats `candidates` there, batch by batch
            return self.peer.run(model, image, criterion)


@contextmanager
def silent(logger: logging.Logger) -> Iterator[None]:
    """Silence this very logger for a block."""

    def nothing(record: logging.LogRecord) -> bool:
        return False

    logger.addFilter(nothing)
    try:
        yield
    finally:
        logger.removeFilter(nothing)
