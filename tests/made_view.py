"""Questions as the page of dovision-view sends them."""

import itertools

import numpy as np

from dovision.types import Mask


def packed_mask(mask: Mask) -> str:
    """A region, shape (H, W), as the page sends it: lengths of runs of pixels outside, inside, outside, ..."""
    pixels = [False, *np.asarray(mask, bool).ravel().tolist()]
    runs = [len(list(group)) for _, group in itertools.groupby(pixels)]
    return " ".join(map(str, [runs[0] - 1, *runs[1:]]))
