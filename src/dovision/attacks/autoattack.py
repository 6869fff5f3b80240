"""AutoAttack: four attacks in turn, each on the images that the others have left right."""

from __future__ import annotations

from torch import Tensor

from dovision.attacks._objective import ObjectiveAttack
from dovision.attacks.apgd import APGD, TargetedAPGD
from dovision.attacks.fab import FAB
from dovision.attacks.losses import margin
from dovision.attacks.square import Square
from dovision.interfaces import Classifier
from dovision.types import Batch, Epsilons


class AutoAttack(ObjectiveAttack):
    """Ensemble of APGD, targeted APGD, targeted FAB and Square, each on images not yet misclassified.

    An image that stands against all of them, or is wrong when clean, stays as it is. With the defaults it is the
    standard version of its source.

    Args:
        eps, norm: as of Attack.
        steps: of both APGD, and of FAB, for each start and answer.
        targets: wrong answers that the targeted attacks go for.
        queries: of Square.
        seed: of all draws; they depend on (seed, sample) alone.

    Source: arXiv:2003.01690.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.AutoAttack(eps="8/255", steps=3, targets=2, queries=20)(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    def __init__(
        self,
        eps: Epsilons,
        steps: int = 100,
        targets: int = 9,
        queries: int = 5000,
        norm: str = "linf",
        seed: int = 0,
    ) -> None:
        super().__init__(eps, norm, margin, None)
        self.apgd = APGD(eps, steps, norm=norm, seed=seed)
        self.targeted = TargetedAPGD(eps, steps, targets, norm=norm, seed=seed)
        self.fab = FAB(eps, steps, targets, norm=norm, seed=seed)
        self.square = Square(eps, queries, norm=norm, seed=seed)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        image, reached = batch.image, self.reached(batch.image, batch, classifier)
        for attack in (self.apgd, self.targeted, self.fab, self.square):
            rows = (~reached).nonzero().squeeze(1)
            if len(rows) == 0:
                break
            standing = batch.rows(rows)
            attacked = attack.run(standing, classifier, eps)
            beaten = self.reached(attacked, standing, classifier)
            image = image.index_copy(0, rows[beaten], attacked[beaten])
            reached = reached.index_fill(0, rows[beaten], True)
        return image
