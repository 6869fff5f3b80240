"""Differences of the effects of units of one image: beyond those of their frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dovision.analysis.average_effect import effects_by_unit, unit_names
from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import EFFECT_BOUNDS, LEVEL, bounded_means, means
from dovision.store.effect_sums import CELL
from dovision.store.tables import has_all_rows, read_groups
from dovision.types import FRAME

_SCALES = {"effect": "", "log_odds_effect": "_log_odds"}
_ENDS = ("", "_low", "_high", "_reason", "_p")
_WEIGHTS = {"unit_effect": {"": 1}, "frame": {FRAME: 1}, "beyond": {"": 1, FRAME: -1}}  # by the end of a unit's name


def frame_contrasts(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Effect of each unit, of its frame alone, and beyond it, paired image by image.

    An effect that the frame has as well is one of the edge that painting draws.

    Returns:
        Columns condition, unit, class; unit_effect, frame, beyond (their difference), means on the probability, each
        with _low, _high, _reason, _p; the same in log-odds, such as beyond_log_odds; clusters, images. No rows where no
        frames were painted, or not all classes have rows.
    """
    columns = [f"{name}{scale}{end}" for name in _WEIGHTS for scale in _SCALES.values() for end in _ENDS]
    empty = pd.DataFrame(columns=[*CELL, *columns, "clusters", "images"])
    names = unit_names(folder) if has_all_rows(folder) else pd.Index([])
    units = [unit for unit in names if f"{unit}{FRAME}" in names]
    if not units:
        return empty
    every = pd.Index([f"{unit}{end}" for end in ("", FRAME) for unit in units])
    wide, groups = {scale: effects_by_unit(folder, every, scale) for scale in _SCALES}, read_groups(folder)
    frames = []
    for unit in units:
        frame: dict[str, Any] = {}
        for scale, suffix in _SCALES.items():
            for name, weights in _WEIGHTS.items():
                value = sum(weight * wide[scale][f"{unit}{end}"] for end, weight in weights.items())
                by_group = value.groupby(groups.reindex(value.index).to_numpy())
                count = by_group.count().to_numpy()
                if suffix:
                    mean = means(by_group.sum().to_numpy(), count, level=level)
                else:
                    mean = bounded_means(by_group.sum().to_numpy(), count, EFFECT_BOUNDS, RESOLUTION, level)
                frame |= mean.columns(f"{name}{suffix}")
        cells = [(condition, unit, label) for condition, label in wide[scale][unit]]
        counts = {"clusters": (count > 0).sum(axis=0), "images": count.sum(axis=0)}
        table = pd.MultiIndex.from_tuples(cells, names=CELL).to_frame(index=False).assign(**frame, **counts)
        frames.append(table[table["images"] > 0])
    return without_few(pd.concat(frames, ignore_index=True)[empty.columns])
