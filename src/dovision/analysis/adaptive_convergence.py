"""Success of the attacker who knows a detector against the number of its steps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dovision.functional.estimates import share_of_images
from dovision.store.detection_tables import DETECTOR

COMPARED_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # numbers of steps that are compared
ALL_DIRECTIONS = "all directions"  # an image is evaded if it is in one of them


def evasion_by_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of images that are misclassified and undetected after so many steps, of those that were right when clean.

    A short attack is read off a long one, whose first steps are longer than those of an attack of that many steps.

    Args:
        frame: of adaptive.parquet.

    Returns:
        A row per detector, variant, fitted_on, eps, direction (also "all directions") and steps, with `images` (right
        when clean), mean, low, high and reason.
    """
    right = frame[frame["right"]]
    key = [*DETECTOR, "eps"]
    best = right.groupby([*key, "sample", "group"], sort=False, observed=True, as_index=False)[["first", "steps"]].min()
    both = pd.concat([right, best.assign(direction=ALL_DIRECTIONS)], ignore_index=True)
    rows = []
    for names, own in both.groupby([*key, "direction"], sort=False, observed=True):
        first, groups = own["first"].to_numpy(float, na_value=np.inf), own["group"].to_numpy()
        most = int(own["steps"].max())
        for steps in [*(each for each in COMPARED_STEPS if each < most), most]:
            row = dict(zip([*key, "direction"], names, strict=True)) | {"steps": steps, "images": len(own)}
            rows.append(row | share_of_images(first <= steps, groups).columns())
    return pd.DataFrame(rows)
