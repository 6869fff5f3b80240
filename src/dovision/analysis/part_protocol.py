"""The eight numbers of the protocol of FunnyBirds, from a run's table of maps.

Source: Hesse, Schaub-Meyer and Roth, FunnyBirds, ICCV 2023, arXiv:2308.06248.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovision.functional.estimates import of_images
from dovision.functional.intervals import Interval, mean_interval, share_interval, withheld
from dovision.store.map_tables import AS_IS, BY_THRESHOLD, MAPS_FILE, PART_THRESHOLDS, WITHOUT_THRESHOLD, read_maps
from dovision.store.tables import CLEAN, SAMPLES, read_table

ACCURACY, BACKGROUND_INDEPENDENCE = "accuracy", "background_independence"
CLASSIFIER_ROW = "classifier"  # the method of numbers that no map has a part in
PROTOCOL = ["measure", "method", "mean", "low", "high", "reason", "threshold", "drawn", "clusters", "images"]
NOT_DRAWN = "pictures without these parts are not drawn"


def part_protocol(folder: Path) -> pd.DataFrame:
    """Numbers of the FunnyBirds protocol; those by a threshold at the one where they are largest together.

    Which is where a third of each of controlled check, preservation check and deletion check, and distractibility (of
    which 1 is best), have the largest sum, as the authors choose it, on the same images; intervals do not cover that
    choice. A check whose pictures are not drawn for each image is left out of the sum, and has no number.

    Args:
        folder: of the run.

    Returns:
        measure, method (the explainer, or "classifier"), mean, low, high, reason (why there is no number or interval),
        threshold, drawn (share of the objects of the background that pictures are drawn without), clusters, images.
        Empty without the columns of `PartProtocol`.
    """
    maps = read_maps(folder) if (folder / MAPS_FILE).is_file() else pd.DataFrame()
    if WITHOUT_THRESHOLD[0] not in maps:
        return pd.DataFrame(columns=PROTOCOL)
    maps = maps[maps["variant"] == AS_IS]
    samples = read_table(folder / SAMPLES, ["group", "condition", "correct"]).to_pandas()
    clean = samples[samples["condition"] == CLEAN]
    once = maps.drop_duplicates("sample")
    background = (once[f"background_{name}"].to_numpy(int) for name in ("objects", "drawn", "relevant"))
    objects, with_picture, relevant = background
    drawn = {"drawn": with_picture.sum() / objects.sum() if objects.sum() else np.nan}
    pictures = [np.arange(count) >= lost for count, lost in zip(with_picture, relevant, strict=True)]
    independent = np.concatenate(pictures or [np.empty(0)])
    independence = share_interval(independent.astype(float), np.repeat(once["group"].to_numpy(), with_picture))
    accuracy = share_interval(clean["correct"].to_numpy(float), clean["group"].to_numpy())
    rows = [
        _row(ACCURACY, CLASSIFIER_ROW, accuracy, len(clean)),
        _row(BACKGROUND_INDEPENDENCE, CLASSIFIER_ROW, independence, len(once)) | drawn,
    ]
    for explainer, of_map in maps.groupby("explainer", sort=False):
        defined = {name: of_map.dropna(subset=name) for name in BY_THRESHOLD}
        values = {
            name: np.array([*rows_of[name]], float).reshape(-1, len(PART_THRESHOLDS))
            for name, rows_of in defined.items()
        }
        values["distractibility"] = 1 - values["distractibility"]
        thirds = [of.mean(0) / (1 if name == "distractibility" else 3) for name, of in values.items() if len(of)]
        best = int(np.nansum(thirds, axis=0).argmax()) if thirds else 0
        columns = {name: (of[:, best], defined[name]["group"].to_numpy()) for name, of in values.items()}
        for name in WITHOUT_THRESHOLD:
            has = of_map.dropna(subset=name)
            columns[name] = has[name].to_numpy(float), has["group"].to_numpy()
        for name, (column, groups) in columns.items():
            whole = len(column) and np.isfinite(column).all()
            interval = withheld(np.nan, 0, NOT_DRAWN)
            if whole and np.isin(column, (0, 1)).all():
                interval = share_interval(column, groups)
            elif whole:
                interval = mean_interval(column, groups, bounds=(0.0, 1.0))
            row = _row(name, str(explainer), interval, len(column))
            row |= {"threshold": PART_THRESHOLDS[best]} if name in BY_THRESHOLD else {}
            rows.append(row | (drawn if name == "distractibility" else {}))
    return pd.DataFrame(rows, columns=PROTOCOL)


def _row(measure: str, method: str, interval: Interval, images: int) -> dict[str, Any]:
    counts = {"clusters": interval.clusters, "images": images}
    return {"measure": measure, "method": method, **of_images(interval, images).columns(), **counts}
