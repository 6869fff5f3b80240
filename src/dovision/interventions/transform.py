"""Transforms of the whole image as interventions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dovision import checks
from dovision.interfaces import Context, Intervention
from dovision.interventions.transforms import ImageTransform
from dovision.types import INPUT, Shape


class Transform(Intervention):
    """do(x = T(x)), one unit per transform; unchanged images take no pass.

    Args:
        transforms: by the names of the units, such as {"median2": MedianFilter(2)}.

    Example:
        >>> classifier, digits = dv.example()
        >>> transforms = dv.Transform({"1 bit": dv.BitDepth(1), "turned": dv.Rotation(8.0)})
        >>> dv.effect_map(classifier, digits.image, transforms).units
        ('1 bit', 'turned')
    """

    site = INPUT

    def __init__(self, transforms: Mapping[str, ImageTransform]) -> None:
        self.transforms = dict(checks.nonempty("transforms", transforms))

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(self.transforms)

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        return list(self.transforms.values())[unit](value, context)
