"""Painting over masks that are given as tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from dovision import checks
from dovision.interfaces import Intervention
from dovision.interventions._masks import MaskIntervention
from dovision.interventions.fills import Fill
from dovision.interventions.pixel_grid import BLACK
from dovision.types import Batch, Mask


class Brush(MaskIntervention):
    """do(mask = fill) on masks given as tensors, such as drawn by hand; for notebooks.

    Args:
        masks: bool of shape (H, W), for all images, or (B, H, W), one for each; several by name, or one, which is
            named "brush". An image without a pixel of a mask has no such unit.
        fill: what a mask is painted with.
        controls, seed: of control masks, see `MaskIntervention`.

    Raises:
        ValueError: a mask is no bool tensor of such a shape, or empty; with an image, its size is another, or there
            are more or fewer images than masks.

    Example:
        >>> import torch
        >>> classifier, digits = dv.example()
        >>> left = torch.zeros(8, 8, dtype=torch.bool)
        >>> left[:, :4] = True
        >>> dv.effect_map(classifier, digits.image, dv.Brush({"left": left})).units
        ('left',)
    """

    def __init__(
        self, masks: Tensor | Mapping[str, Tensor], fill: Fill = BLACK, controls: int = 0, seed: int = 0
    ) -> None:
        super().__init__(fill, controls, seed)
        named = masks if isinstance(masks, Mapping) else {"brush": masks}
        self._masks = {name: _checked(name, mask) for name, mask in checks.nonempty("masks", named).items()}
        self._rows: dict[int, int] = {}  # of a sample in masks of shape (B, H, W)

    def for_images(self, batch: Batch) -> Intervention:
        for name, mask in self._masks.items():
            if mask.ndim == 3 and len(mask) != len(batch.image):
                raise ValueError(
                    f"masks must be one for all images, shape (H, W), or one for each of the {len(batch.image)}, got "
                    f"{len(mask)} for {name!r}."
                )
        shown = copy.copy(self)
        shown._rows = {sample: row for row, sample in enumerate(batch.sample.tolist())}
        shown._forget()
        return shown

    def names(self) -> tuple[str, ...]:
        return tuple(self._masks)

    def masks(self, sample: int) -> Mapping[str, Mask]:
        row = self._rows.get(sample, sample)
        return {name: (mask if mask.ndim == 2 else mask[row]).numpy() for name, mask in self._masks.items()}


def _checked(name: str, mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool or mask.ndim not in (2, 3):
        raise ValueError(
            f"masks must be bool of shape (H, W) or (B, H, W), got {mask.dtype} of shape {tuple(mask.shape)} for "
            f"{name!r}. Compare numbers with a threshold: mask > 0.5."
        )
    if not mask.any():
        raise ValueError(f"masks must have a pixel, got an empty one for {name!r}.")
    return mask.detach().cpu().clone()
