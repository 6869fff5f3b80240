"""Interchange accuracy: how often a unit's value from another image makes the network answer as for that image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from dovision.functional.estimates import share_of_images
from dovision.results.image_tables import SOURCES_FILE
from dovision.results.tables import EFFECTS, has_all_rows, read_groups, row_groups

_PASS, _ANSWERS = ["sample", "condition", "unit"], ["control", "treated"]
_ENDS = ("", "_low", "_high", "_reason")
INTERCHANGE = ["condition", "unit", *(f"{name}{end}" for name in ("accuracy", "without_do") for end in _ENDS)]
INTERCHANGE += ["clusters", "images"]


def interchange_accuracy(folder: Path) -> pd.DataFrame:
    """Share of images that the network gives the class of their source, once a unit has the source's value.

    It is the accuracy of the hypothesis that the unit holds all that the class depends on: 1 if it does, and no more
    than `without_do`, the share without do(unit), if it holds nothing of it. Sources that the network itself takes for
    another class lower it too.

    Args:
        folder: of the run.

    Returns:
        condition, unit; accuracy and without_do, each with _low, _high and _reason (why there is no interval);
        clusters, images. Empty without an interchange with images of the split, or where not all classes have rows.

    Source: Geiger et al., Causal abstractions of neural networks, NeurIPS 2021, arXiv:2106.02997.
    """
    if not (folder / SOURCES_FILE).is_file() or not has_all_rows(folder):
        return pd.DataFrame(columns=INTERCHANGE)
    label = SOURCES_FILE.read(folder).set_index("sample")["label"].astype(str)
    largest, passes = [], []
    for table in row_groups(folder / EFFECTS, [*_PASS, "class", *_ANSWERS]):
        rows = table.to_pandas().astype({"condition": str, "unit": str, "class": str})
        largest.append(rows.groupby(_PASS)[_ANSWERS].max())
        passes.append(rows[rows["class"] == rows["sample"].map(label)])
    frame, groups = pd.concat(passes, ignore_index=True), read_groups(folder)
    of_pass = pd.concat(largest).groupby(level=_PASS).max()  # whose classes may lie in two row groups
    frame[_ANSWERS] = frame[_ANSWERS].to_numpy() == of_pass.loc[pd.MultiIndex.from_frame(frame[_PASS])].to_numpy()
    units = []
    for (condition, unit), rows in frame.groupby(["condition", "unit"], sort=False):
        group = groups.reindex(rows["sample"]).to_numpy()
        without_do, accuracy = (share_of_images(rows[name].to_numpy(bool), group) for name in _ANSWERS)
        counts = {"condition": condition, "unit": unit, "clusters": len(np.unique(group)), "images": len(rows)}
        units.append(counts | accuracy.columns("accuracy") | without_do.columns("without_do"))
    return pd.DataFrame(units, columns=INTERCHANGE)
