"""Average effects with intervals, over the images of a run and groups of rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import (
    EFFECT_BOUNDS,
    LEVEL,
    UNBOUNDED,
    Bounds,
    bounded_means,
    mean_interval,
    means,
    share_of,
    spread,
)
from dovision.results.effect_sums import CELL, LOG_ODDS_QUANTUM, LOG_ODDS_SUM, QUANTUM, SUMS, SUMS_AT_ONCE, read_cells
from dovision.results.tables import read_groups, row_groups

_Array = npt.NDArray[np.float64]
_SUMMED = {"total": QUANTUM, LOG_ODDS_SUM: LOG_ODDS_QUANTUM, "images": 1}  # columns of sums, in what they count
LARGE_EFFECT = 0.1  # size of an effect on a probability, fixed beforehand, beyond which groups are counted


def average_effects(folder: Path) -> pd.DataFrame:
    """Mean effect (ACE) of each unit on each class in each condition, with intervals over groups.

    The table of sums is read row group by row group, once for every SUMS_AT_ONCE sums of a group's effects.

    Whether an effect differs from 0 is decided in log-odds, of which Student's t holds; the average of effects on the
    probability, decided by few images, has an interval that holds by a theorem, and is wide for few groups.

    Returns:
        Columns condition, unit, class; mean (over groups of the group's mean effect on the probability), low, high,
        reason (why there is no interval), p (two-sided, of "the mean is 0"); log_odds (the same mean of effects in
        log-odds), log_odds_low, log_odds_high, log_odds_reason, log_odds_p; share_beyond (of the groups whose effect on
        the probability is larger than LARGE_EFFECT, with the sign of the average effect in log-odds), share_beyond_low,
        share_beyond_high (Clopper and Pearson's); clusters (groups), images; in the order of the table. Effects below
        RESOLUTION count as 0.
    """
    return without_few(_averages(folder, read_cells(folder).row_index(), LEVEL))


def at_level(folder: Path, rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Rows of `average_effects` with intervals of another level; reads the table again."""
    cells = pd.MultiIndex.from_frame(rows[list(CELL)])
    return without_few(_averages(folder, cells, level).set_index(rows.index))


def _averages(folder: Path, cells: pd.MultiIndex, level: float) -> pd.DataFrame:
    """Average effects in some cells."""
    width = max(1, SUMS_AT_ONCE // max(read_groups(folder).nunique(), 1))
    blocks = [cells[start : start + width] for start in range(0, max(len(cells), 1), width)]  # a run may have none
    return pd.concat([_frame(block, group_sums(folder, block), level) for block in blocks], ignore_index=True)


def group_sums(folder: Path, cells: pd.MultiIndex) -> _Array:
    """Sums of effects, sums in log-odds, and image counts of some cells, shape (3, G, C), by group."""
    groups, every = np.unique(read_groups(folder).to_numpy()), read_cells(folder)
    number, sums = cells.get_indexer(every.row_index()), np.zeros((3, len(groups) * len(cells)))
    for table in row_groups(folder / SUMS):
        cell = number[every.places(table)]
        here = cell >= 0
        position = np.searchsorted(groups, table["group"].to_numpy()[here]) * len(cells) + cell[here]
        for of_cells, (column, quantum) in zip(sums, _SUMMED.items(), strict=True):
            of_cells[position] = table[column].to_numpy()[here] * quantum
    return sums.reshape(3, len(groups), -1)


def _frame(cells: pd.MultiIndex, sums: _Array, level: float) -> pd.DataFrame:
    """Table of `average_effects` from sums of effects, sums in log-odds, and image counts, shape (3, G, C)."""
    totals, log_odds, counts = sums
    averages = bounded_means(totals, counts, EFFECT_BOUNDS, RESOLUTION, level)
    columns = averages.columns() | means(log_odds, counts, level=level).columns("log_odds")
    hits = (totals * np.sign(columns["log_odds"]) > LARGE_EFFECT * np.maximum(counts, 1)).sum(axis=0)
    columns["share_beyond"] = hits / np.maximum(averages.n, 1)
    columns["share_beyond_low"], columns["share_beyond_high"] = share_of(hits, averages.n, level)
    images = counts.sum(axis=0).astype(np.int64)
    return cells.to_frame(index=False).assign(**columns, clusters=averages.n, images=images)[images > 0]


def grouped_means(
    rows: pd.DataFrame,
    by: list[str],
    values: Sequence[str],
    level: float = LEVEL,
    bounds: Mapping[str, Bounds] = MappingProxyType({}),
    sizes: Collection[str] = (),
    spread_of: str = "",
) -> pd.DataFrame:
    """Means of columns over groups of rows, with intervals over patients.

    Args:
        rows: columns of `by` and `values`; sample; group, the patient.
        by: columns whose values name a group of rows.
        values: columns of numbers.
        level: of the intervals.
        bounds: of values that are effects on probabilities, as of `mean_interval`, below RESOLUTION 0; the others have
            none.
        sizes: those of `values` that are sizes, which have no interval of their own.
        spread_of: the column whose `intervals.spread` each row has as well; "" for none.

    Returns:
        A row per group of rows, in their order: `by`; clusters (patients), images, objects (rows); and for each of
        `values` NAME, NAME_low, NAME_high, NAME_reason (why there is no interval).
    """
    averages = []
    for key, cell in rows.groupby(by, sort=False):
        groups = cell["group"].to_numpy()
        counts = {"clusters": cell["group"].nunique(), "images": cell["sample"].nunique(), "objects": len(cell)}
        row = dict(zip(by, key, strict=True)) | counts
        for name in values:
            between = bounds.get(name, UNBOUNDED)
            resolution = RESOLUTION if np.isfinite(between).all() else 0.0
            interval = mean_interval(cell[name].to_numpy(float), groups, resolution, level, between)
            row |= (interval.bare() if name in sizes else interval).columns(name)
        if spread_of:
            row |= spread(cell[spread_of].to_numpy(float), groups, level)
        averages.append(row)
    return without_few(pd.DataFrame(averages))
