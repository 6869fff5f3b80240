"""Rows of a product whose bits do not depend on how many there are."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

LEAST_ROWS = 4  # of a product; that of fewer is rounded in another order: of 1 with AVX-512, of 1 to 3 with AVX2


def enough_rows(value: Tensor) -> Tensor:
    """Rows, shape (..., N, C), with zeros behind them where they are too few; else as they are, not copied."""
    lacking = LEAST_ROWS - value.shape[-2]
    return F.pad(value, (0, 0, 0, lacking)) if lacking > 0 else value
