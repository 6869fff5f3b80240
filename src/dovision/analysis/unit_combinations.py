"""Sums and differences of the effects of units of one image: beyond frames, and by routes through a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dovision.analysis.average_effect import effects_by_unit, unit_names
from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import EFFECT_BOUNDS, INTERACTION_BOUNDS, LEVEL, bounded_means, means
from dovision.store.effect_sums import CELL
from dovision.store.tables import has_all_rows, read_groups
from dovision.types import DIRECT_END, FRAME, INDIRECT_END

_SCALES = {"effect": "", "log_odds_effect": "_log_odds"}
_ENDS = ("", "_low", "_high", "_reason", "_p")
Weights = Mapping[str, float]  # by what ends the name of a unit


def frame_contrasts(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Effect of each unit, of its frame alone, and beyond it, paired image by image.

    An effect that the frame has as well is one of the edge that painting draws.

    Returns:
        Columns condition, unit, class; unit_effect, frame, beyond (their difference), means on the probability, each
        with _low, _high, _reason, _p; the same in log-odds, such as beyond_log_odds; clusters, images. No rows where no
        frames were painted, or not all classes have rows.
    """
    named: dict[str, Weights] = {"unit_effect": {"": 1}, "frame": {FRAME: 1}, "beyond": {"": 1, FRAME: -1}}
    return _combined(folder, (FRAME,), named, level)


def mediation(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Total, direct and indirect effect of each unit, and their interaction, of an intervention such as `Mediation`.

    Returns:
        Columns condition, unit, class; total, direct, indirect, interaction (total minus direct minus indirect), with
        what `frame_contrasts` has of each. No rows of other interventions, or where not all classes have rows.
    """
    named: dict[str, Weights] = {"total": {"": 1}, "direct": {DIRECT_END: 1}, "indirect": {INDIRECT_END: 1}}
    named["interaction"] = {"": 1, DIRECT_END: -1, INDIRECT_END: -1}
    return _combined(folder, (DIRECT_END, INDIRECT_END), named, level)


def _combined(folder: Path, ends: Sequence[str], named: Mapping[str, Weights], level: float) -> pd.DataFrame:
    """Means over groups of weighted sums of the effects of each unit that has versions with these ends."""
    columns = [f"{name}{scale}{end}" for name in named for scale in _SCALES.values() for end in _ENDS]
    empty = pd.DataFrame(columns=[*CELL, *columns, "clusters", "images"])
    names = unit_names(folder) if has_all_rows(folder) else pd.Index([])
    units = [unit for unit in names if all(f"{unit}{end}" in names for end in ends)]
    if not units:
        return empty
    every = pd.Index([f"{unit}{end}" for end in ("", *ends) for unit in units])
    wide, groups = {scale: effects_by_unit(folder, every, scale) for scale in _SCALES}, read_groups(folder)
    frames = []
    for unit in units:
        frame: dict[str, Any] = {}
        for scale, suffix in _SCALES.items():
            for name, weights in named.items():
                value = sum(weight * wide[scale][f"{unit}{end}"] for end, weight in weights.items())
                by_group = value.groupby(groups.reindex(value.index).to_numpy())
                count = by_group.count().to_numpy()
                if suffix:
                    mean = means(by_group.sum().to_numpy(), count, level=level)
                else:
                    bounds = EFFECT_BOUNDS if len(weights) < 3 else INTERACTION_BOUNDS
                    mean = bounded_means(by_group.sum().to_numpy(), count, bounds, RESOLUTION, level)
                frame |= mean.columns(f"{name}{suffix}")
        cells = [(condition, unit, label) for condition, label in wide[scale][unit]]
        counts = {"clusters": (count > 0).sum(axis=0), "images": count.sum(axis=0)}
        table = pd.MultiIndex.from_tuples(cells, names=CELL).to_frame(index=False).assign(**frame, **counts)
        frames.append(table[table["images"] > 0])
    return without_few(pd.concat(frames, ignore_index=True)[empty.columns])
