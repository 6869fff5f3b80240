"""Estimates of too few images, which are withheld: a rate of one or two says nothing of others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.intervals import LEVEL, Number, share_interval, withheld

MIN_IMAGES = 5
FEW_IMAGES = f"fewer than {MIN_IMAGES} images"


def of_images(interval: Number, *images: float) -> Number:
    """The interval; withheld, with the reason FEW_IMAGES, for 1 to MIN_IMAGES - 1 images.

    Args:
        interval: of an estimate.
        images: how many it is of; of a comparison of two sets, such as AUROC, of each.
    """
    return withheld(np.nan, interval.n, FEW_IMAGES) if 0 < min(images) < MIN_IMAGES else interval


def share_of_images(
    hits: npt.NDArray[np.float64] | npt.NDArray[np.bool_], groups: npt.NDArray[np.int64], level: float = LEVEL
) -> Number:
    """Interval of a share of images, from one hit (0 or 1) per image; see `of_images`."""
    return of_images(share_interval(hits, groups, level), np.isfinite(hits.astype(float)).sum())


def without_few(frame: pd.DataFrame) -> pd.DataFrame:
    """Replace numbers, except counts, by nan and a reason in rows of 1 to MIN_IMAGES - 1 `images`."""
    if frame.empty:
        return frame
    few = frame["images"].between(1, MIN_IMAGES - 1)
    reasons = [name for name in frame if str(name).endswith("reason")]
    numbers = frame.select_dtypes("floating")
    return frame.assign(**numbers.mask(few), **frame[reasons].astype(object).mask(few, FEW_IMAGES))
