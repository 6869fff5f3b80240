"""Effect maps and boxes as layers over the saved pictures, for a dashboard that draws the layers itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.geometry import stack
from dovision.store.map_tables import read_box_table
from dovision.store.tables import boxes_of, largest_effect
from dovision.store.thumbnails import Picture, load_thumbnail, thumbnail_path

LEVELS = {
    0: "no unit",
    1: "evidence for the class",
    2: "some evidence for it",
    3: "hardly any",
    4: "some evidence against it",
    5: "evidence against the class",
}
EDGES = (-0.6, -0.2, 0.2, 0.6)  # between the levels 1 to 5, in shares of the largest effect of the job's pictures


class Layered(NamedTuple):
    """A picture and what lies over it."""

    caption: str
    picture: Picture
    levels: npt.NDArray[np.uint8]  # (H, W), keys of LEVELS
    boxes: pd.DataFrame  # of the known objects: object, top, left, bottom, right (pixels)


def layered(folder: Path, effects: pd.DataFrame) -> Iterator[Layered]:
    """The saved pictures of a run directory with their effect maps; none where units have no place.

    Args:
        folder: the run directory.
        effects: a row per (sample, condition, unit): predicted, label, effect, top, left, bottom, right (pixels, or
            nan).
    """
    boxes, largest = read_box_table(folder), largest_effect(effects)
    for (sample, condition), units in effects.dropna(subset=["top"]).groupby(["sample", "condition"], sort=False):
        picture, facts = load_thumbnail(thumbnail_path(folder, sample, condition)), units.iloc[0]
        caption = f"sample {sample}, {condition}: predicted: {facts['predicted']}, true: {facts['label']}"
        yield Layered(caption, picture, _levels(picture, units, largest), boxes[boxes["sample"] == sample])


def _levels(picture: Picture, units: pd.DataFrame, largest: float) -> npt.NDArray[np.uint8]:
    height, width = picture.shape[:2]
    share = stack(height, width, boxes_of(units), (units["effect"] / largest).tolist(), background=np.nan)
    return np.where(np.isnan(share), 0, 1 + np.digitize(share, EDGES)).astype(np.uint8)
