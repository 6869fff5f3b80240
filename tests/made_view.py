"""Questions as the page of dovision-view sends them."""

from __future__ import annotations

import base64

import numpy as np

from dovision.types import Mask


def packed_mask(mask: Mask) -> str:
    """A region, shape (H, W), as the page sends it: bits row by row, in base64."""
    return base64.b64encode(np.packbits(np.asarray(mask, bool))).decode()
