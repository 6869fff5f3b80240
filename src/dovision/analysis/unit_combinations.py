"""Effects of several units combined: of sets of units beside their members', of units beyond their frames'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.analysis.average_effect import group_sums
from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import EFFECT_BOUNDS, INTERACTION_BOUNDS, LEVEL, bounded_means, means
from dovision.store.effect_sums import CELL, read_cells
from dovision.types import FRAME, MATCHED_CONTROL, SET_JOIN

_Array = npt.NDArray[np.float64]
INTERACTIONS = [*CELL, "effect", "additive", "interaction", "low", "high", "reason", "p", "clusters", "images"]
_ENDS = ("", "_low", "_high", "_reason", "_p")
_FRAMED = [f"{name}{scale}" for name in ("unit_effect", "frame", "beyond") for scale in ("", "_log_odds")]
FRAME_CONTRASTS = [*CELL, *(f"{name}{end}" for name in _FRAMED for end in _ENDS), "clusters", "images"]


def interactions(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Interaction of each set of units, its effect minus those of its units, e(u, v) - e(u) - e(v).

    A set is a unit that is named after others of the run, such as c1+c4; its matched controls set other units, and have
    none.

    Returns:
        Columns condition, unit (the set), class, effect (mean of the set's), additive (mean of the sum of its units'),
        interaction (mean of the difference), and low, high, reason, p, clusters, images of the interaction as of
        `average_effects`; no rows where the run has no sets of units.
    """
    units = read_cells(folder).unit
    sets = {name: name.split(SET_JOIN) for name in units if SET_JOIN in name and MATCHED_CONTROL not in name}
    sets = {name: members for name, members in sets.items() if {*members} <= {*units}}
    columns = {}
    for name, sums in _unit_sums(folder, {name: [name, *members] for name, members in sets.items()}):
        (effect, _, counts), (additive, *_) = sums[0], sums[1:].sum(axis=0)
        interaction = bounded_means(effect - additive, counts, INTERACTION_BOUNDS, RESOLUTION, level)
        of_set, of_units = (means(totals, counts).estimate for totals in (effect, additive))
        estimates = {"effect": of_set, "additive": of_units, "interaction": interaction.estimate}
        columns[name] = interaction.columns() | estimates | _counted(counts)
    return _table(folder, columns, INTERACTIONS)


def frame_contrasts(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Effect of each unit, of its frame alone, and beyond it, paired by group.

    An effect that the frame has as well is one of the edge that painting draws.

    Returns:
        Columns condition, unit, class; unit_effect, frame, beyond (their difference), means on the probability, each
        with _low, _high, _reason, _p; the same in log-odds, such as beyond_log_odds; clusters, images. No rows where no
        frames were painted.
    """
    units = read_cells(folder).unit
    framed = {unit: [unit, f"{unit}{FRAME}"] for unit in units if f"{unit}{FRAME}" in units}
    columns = {}
    for name, (of_unit, of_frame) in _unit_sums(folder, framed):
        counts = of_unit[2]
        numbers: dict[str, Any] = {}
        for column, sums in {"unit_effect": of_unit, "frame": of_frame, "beyond": of_unit - of_frame}.items():
            numbers |= bounded_means(sums[0], counts, EFFECT_BOUNDS, RESOLUTION, level).columns(column)
            numbers |= means(sums[1], counts, level=level).columns(f"{column}_log_odds")
        columns[name] = numbers | _counted(counts)
    return _table(folder, columns, FRAME_CONTRASTS)


def _unit_sums(folder: Path, combined: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, _Array]]:
    """Iterate over names and the sums of the N units combined, shape (N, 3, G, C), by group, and condition and class.

    As of `group_sums`; 0 of a group in which the units do not act on the same number of images.
    """
    if combined:
        units, names = [*dict.fromkeys(chain(*combined.values()))], read_cells(folder)
        sums = group_sums(folder, names._replace(unit=tuple(units)).row_index())
        by_unit = np.moveaxis(sums.reshape(*sums.shape[:2], names.shape[0], len(units), names.shape[2]), 3, 0)
        by_unit = by_unit.reshape(*by_unit.shape[:3], -1)
        for name, members in combined.items():
            of_members = by_unit[[units.index(member) for member in members]]
            yield name, of_members * (of_members[:, 2] == of_members[0, 2]).all(axis=0)


def _counted(counts: _Array) -> dict[str, Any]:
    return {"clusters": (counts > 0).sum(axis=0), "images": counts.sum(axis=0).astype(np.int64)}


def _table(folder: Path, columns: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> pd.DataFrame:
    """Table of the columns of each unit, by condition and class, without cells that were not measured."""
    cells, frames = read_cells(folder), [pd.DataFrame(columns=names)]
    for unit, of_unit in columns.items():
        frame = cells._replace(unit=(unit,)).row_index().to_frame(index=False).assign(**of_unit)
        frames.append(frame[frame["images"] > 0])
    return without_few(pd.concat(frames[1:] or frames, ignore_index=True)[names])
