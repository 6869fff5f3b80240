"""The L2 attack of Carlini and Wagner."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dovision import checks
from dovision.attacks._foolbox_adapter import Nearest, import_foolbox
from dovision.attacks._lp_ball import Ball
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class CarliniWagner(Attack):
    """The smallest perturbation in L2 by Adam on its size plus a constant times the margin, by foolbox.

    An image of which the nearest adversarial one is out of budget is moved as far towards that as eps allows.

    Args:
        eps: one epsilon or several, L2 in pixel units.
        steps: gradients per image and constant.
        searches: constants tried per image, by binary search.
        step_size: of Adam, in the space of arctanh of the pixels.
        confidence: by how much, in logits, the wanted answer must lead.
        first_constant: with which the search begins.
        target: a class, name or number, as of `Objective`; None for any wrong answer.

    Raises:
        ImportError: foolbox is not installed.

    Source: arXiv:1608.04644.
    """

    stops_early = True

    def __init__(
        self,
        eps: float | str | Sequence[float | str],
        steps: int,
        searches: int = 9,
        step_size: float = 0.01,
        confidence: float = 0.0,
        first_constant: float = 1e-3,
        target: int | str | None = None,
    ) -> None:
        super().__init__(eps, "l2")
        search = (
            import_foolbox()
            .attacks.L2CarliniWagnerAttack(
                binary_search_steps=checks.positive_int("searches", searches),
                steps=checks.positive_int("steps", steps),
                stepsize=checks.positive("step_size", step_size),
                confidence=checks.at_least("confidence", confidence, 0),
                initial_const=checks.positive("first_constant", first_constant),
                abort_early=False,  # it looks at the batch's loss: an image's result would depend on the others
            )
            .run
        )
        self.nearest = Nearest(search, target)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self.nearest.objective.check(classifier.task)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.nearest(Ball(batch.image, eps, self.norm), batch, classifier)
