"""Images that were attacked on another classifier."""

from __future__ import annotations

from torch import Tensor

from dovision import checks
from dovision.functional.norms import NORMS
from dovision.interfaces import Attack, Classifier
from dovision.types import Batch, Shape


class Transfer(Attack):
    """Transfer attack: images attacked on a source classifier and evaluated on another, without querying it.

    Args:
        attack: any attack; its epsilons and norm are those of this one.
        source: a classifier of the same classes, such as one fitted with another seed.

    Source: Papernot et al., arXiv:1605.07277.

    Example:
        >>> classifier, digits = dv.example()
        >>> attack = dv.Transfer(dv.FGSM(eps="8/255"), source=classifier)
        >>> attack(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms = NORMS

    def __init__(self, attack: Attack, source: Classifier) -> None:
        self.attack = checks.instance("attack", attack, Attack, "an attack on the source")
        self.source = checks.instance("source", source, Classifier, "a classifier, such as that of a checkpoint")
        super().__init__(attack.eps, attack.norm)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        """Raise if the classifiers differ in their classes, or if the attack does not accept the source."""
        if classifier.task != self.source.task:
            raise ValueError(
                f"source must have the classes of the classifier, {classifier.task.kind}: "
                f"{checks.listed(classifier.task.classes)}, got {self.source.task.kind}: "
                f"{checks.listed(self.source.task.classes)}. Name a checkpoint of the same data."
            )
        self.attack.check(self.source, shape)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        return self.attack(batch, self.source.to(batch.image), eps)
