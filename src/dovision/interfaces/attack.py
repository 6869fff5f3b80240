"""Attacks: adversarial images within a budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import ClassVar

from torch import Tensor, nn

from dovision import checks
from dovision.functional.norms import check_budget
from dovision.interfaces.classifier import Classifier, ClassifierComponent
from dovision.module_state import differentiable
from dovision.types import Batch, Epsilons


class Attack(ClassifierComponent, ABC):
    """An adversarial condition: x -> x + delta, with |delta| <= eps in pixel units, for each epsilon of a list.

    A subclass writes `run`; this class guards the range, the budget and the classifier's state, and counts queries:
    `passes` are forward passes of one image each so far, by epsilon.

    Args:
        eps: one epsilon or several, numbers or fractions such as "8/255".
        norm: linf or l2, or what else is in `norms` of the subclass: l1, or spatial, of which eps is a share of the
            largest movement and not a distance in pixel units.

    Example:
        >>> class Brighter(dv.Attack):
        ...     def run(self, batch, classifier, eps):
        ...         return (batch.image + eps).clamp(0, 1)
        >>> classifier, digits = dv.example()
        >>> Brighter(eps="8/255")(digits, classifier).shape
        torch.Size([8, 1, 8, 8])
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    is_noise: ClassVar[bool] = False  # random change as large as an attack's: the control, which must not be detected

    def __init__(self, eps: Epsilons, norm: str = "linf") -> None:
        self.norm = checks.choice("norm", norm, self.norms)
        self.eps = checks.epsilons(eps, norm)
        self._attacked: Counter[float] = Counter()  # images, by epsilon
        self.passes: Counter[float] = Counter()

    @property
    def queries(self) -> dict[float, float]:
        """Mean number of forward passes per attacked image so far, by epsilon."""
        return {eps: self.passes[eps] / images for eps, images in self._attacked.items()}

    @abstractmethod
    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        """Attack images, shape (B, C, H, W); called with gradients enabled and the classifier in eval mode."""

    def __call__(self, batch: Batch, classifier: Classifier, eps: float | None = None) -> Tensor:
        """Attack images: within eps of `batch.image`, in [0, 1]; at eps = 0 the images bit for bit.

        Leaves no gradient in the parameters, and the mode of every submodule as it was.

        Args:
            batch: images in [0, 1], shape (B, C, H, W), and their labels.
            classifier: the one under attack.
            eps: in pixel units; None: that of the attack, if it has a single one.

        Raises:
            ValueError: eps is None and the attack has several; the images or labels are not those of the classifier.
        """
        if eps is None:
            if len(self.eps) != 1:
                raise ValueError(f"eps must be one of the attack's, {', '.join(f'{e:g}' for e in self.eps)}, got None.")
            (eps,) = self.eps
        checks.image_batch(batch.image)
        checks.labels(batch.label, len(batch.image), len(classifier.task.classes), classifier.task.multilabel)
        if eps == 0:
            return batch.image

        def count(module: nn.Module, images: tuple[Tensor, ...], logits: Tensor) -> None:
            self.passes[eps] += len(logits)

        batch = batch._replace(label=batch.label.to(batch.image.device))
        with differentiable(classifier), classifier.register_forward_hook(count):
            attacked = self.run(batch.detached(), classifier, eps).detach()
            self._attacked[eps] += len(batch.image)
        return check_budget(type(self).__name__, attacked, batch.image, eps, self.norm)
