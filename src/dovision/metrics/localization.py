"""Maps against boxes or masks as metrics: the pointing game, and the share of a map's positive part inside them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dovision import checks
from dovision.functional import agreement
from dovision.metrics._mean import ImageMean
from dovision.types import Box, Mask


class _AgainstBoxes(ImageMean):
    """Mean of a score over maps with boxes or a mask, a positive cell, and only finite cells.

    Args:
        height, width: of the images, pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height = checks.positive_int("height", height)
        self.width = checks.positive_int("width", width)

    def update(self, maps: Tensor, boxes: Sequence[Sequence[Box]], masks: Sequence[Mask | None] | None = None) -> None:
        """Add maps.

        Args:
            maps: of B images on a common grid, positive where the image speaks for the class, shape (B, rows, columns).
            boxes: of each map, in pixels of the image; none where none is known.
            masks: of each map, bool of shape (height, width), which is judged in place of its boxes; None: the boxes.

        Raises:
            ValueError: there are not as many lists of boxes, or masks, as maps, or a mask is not of the images' size.
        """
        masks = [None] * len(boxes) if masks is None else masks
        if len(maps) != len(boxes) or len(maps) != len(masks):
            raise ValueError(
                f"boxes and masks must be one for each of the {len(maps)} maps, got {len(boxes)} and {len(masks)}."
            )
        held = map(self._held, maps.detach().cpu().numpy(), boxes, masks)
        self.add(torch.tensor(list(held), dtype=torch.float64))

    def _held(self, cells: agreement.FloatArray, boxes: Sequence[Box], mask: Mask | None) -> float:
        if mask is not None and mask.shape != (self.height, self.width):
            raise ValueError(f"a mask must have shape {(self.height, self.width)}, got {mask.shape}.")
        if agreement.state(cells) != agreement.OK or not (boxes or mask is not None):
            return np.nan
        return self.score(cells, boxes) if mask is None else self.mask_score(cells, mask)

    @abstractmethod
    def score(self, cells: agreement.FloatArray, boxes: Sequence[Box]) -> float:
        """Score of a map, shape (rows, columns), against its boxes."""

    @abstractmethod
    def mask_score(self, cells: agreement.FloatArray, mask: Mask) -> float:
        """Score of a map, shape (rows, columns), against its mask."""


class PointingGame(_AgainstBoxes):
    """Share of maps whose highest cell is centred in a box or mask, or within `margin` pixels of it.

    compute() is a scalar in [0, 1], float64; nan before the first map that has boxes. Maps without boxes, without a
    positive cell or with a cell that is not finite are left out.

    Args:
        height, width: of the images, pixels.
        margin: pixels; the source takes 15 on images of about 224.

    Source: Zhang et al., Top-down neural attention by excitation backprop, 2016, arXiv:1608.00507.

    Example:
        >>> import torch
        >>> from dovision.metrics import PointingGame
        >>> from dovision.types import Box, Mask
        >>> metric = PointingGame(height=8, width=8, margin=0.0)
        >>> maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])  # 2 x 2 cells of 4 x 4 pixels
        >>> metric.update(maps, [[Box(0, 0, 4, 4)], [Box(0, 0, 4, 4)]])
        >>> metric.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True

    def __init__(self, height: int, width: int, margin: float) -> None:
        super().__init__(height, width)
        self.margin = checks.at_least("margin", margin, 0)

    def score(self, cells: agreement.FloatArray, boxes: Sequence[Box]) -> float:
        return agreement.pointing(cells, boxes, self.height, self.width, self.margin)

    def mask_score(self, cells: agreement.FloatArray, mask: Mask) -> float:
        return agreement.mask_pointing(cells, mask, self.margin)


class EnergyInBox(_AgainstBoxes):
    """Mean share of a map's positive part inside the boxes (energy-based pointing game).

    compute() is a scalar in [0, 1], float64; nan before the first map that has boxes. Maps without boxes, without a
    positive cell or with a cell that is not finite are left out.

    Args:
        height, width: of the images, pixels.

    Source: Wang et al., Score-CAM, 2020, arXiv:1910.01279.

    Example:
        >>> import torch
        >>> from dovision.metrics import EnergyInBox
        >>> from dovision.types import Box, Mask
        >>> metric = EnergyInBox(height=8, width=8)
        >>> metric.update(torch.tensor([[[3.0, 0.0], [0.0, 1.0]]]), [[Box(0, 0, 4, 4)]])
        >>> metric.compute()
        tensor(0.7500, dtype=torch.float64)
    """

    higher_is_better = True

    def score(self, cells: agreement.FloatArray, boxes: Sequence[Box]) -> float:
        return agreement.energy(cells, agreement.coverage(boxes, self.height, self.width, *cells.shape))

    def mask_score(self, cells: agreement.FloatArray, mask: Mask) -> float:
        return agreement.energy(cells, agreement.mask_coverage(mask, *cells.shape))
