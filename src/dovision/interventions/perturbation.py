"""An adversarial perturbation as an intervention on the image."""

from __future__ import annotations

from torch import Tensor

from dovision.functional.norms import condition_name
from dovision.interfaces import Attack, Context, Intervention
from dovision.types import INPUT, Shape


class Perturbation(Intervention):
    """do(x = x + delta), delta from an attack; one unit an epsilon.

    Args:
        attack: with at least one epsilon.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.effect_map(classifier, digits.image, dv.Perturbation(dv.FGSM(eps=["4/255", "8/255"]))).units
        ('eps=4/255', 'eps=8/255')
    """

    site = INPUT

    def __init__(self, attack: Attack) -> None:
        if not attack.eps:
            raise ValueError(f"attack must have at least one epsilon, got none in {type(attack).__name__}.")
        self.attack = attack

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(condition_name(eps) for eps in self.attack.eps)

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        return self.attack(context.batch._replace(image=value), context.classifier, self.attack.eps[unit])
