"""Identity attack, for the clean condition only."""

from __future__ import annotations

from torch import Tensor

from dovision.interfaces import Attack, Classifier
from dovision.types import Batch


class NoAttack(Attack):
    """Identity attack: the clean condition only.

    Example:
        >>> dv.NoAttack().eps
        ()
    """

    def __init__(self) -> None:
        super().__init__(eps=0)
        self.eps = ()

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return batch.image
