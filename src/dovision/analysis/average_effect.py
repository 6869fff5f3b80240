"""Average effects with intervals: over the images of an effects table of any length, and over groups of rows."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import LEVEL, Means, mean_interval, means
from dovision.store.effect_sums import CELL, QUANTUM, SUMS, SUMS_AT_ONCE, has_sums, read_cells, sum_rows
from dovision.store.tables import EFFECTS, SAMPLES, has_all_rows, read_groups, row_groups
from dovision.types import MATCHED_CONTROL, SET_JOIN

_Array = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]
INTERVAL_COLUMNS = ("low", "high", "reason", "p", "error", "skewness", "effective", "clusters", "images")
INTERACTIONS = [*CELL, "effect", "additive", "interaction", *INTERVAL_COLUMNS]


def average_effects(folder: Path) -> pd.DataFrame:
    """ACE, the mean effect over images of each unit on each class in each condition, with its interval over groups.

    The table is read row group by row group, once for every SUMS_AT_ONCE sums of a group's effects. It is that of sums
    where the run has one, since it keeps the rows of some classes alone; the numbers are the same.

    Returns:
        Columns condition, unit, class, mean, low, high, reason (why there is no interval), p (two-sided, of "the mean
        is 0"), error, skewness, effective, clusters (as of `Means`), images, in the order of the table; effects below
        RESOLUTION count as 0. The last few tables are remembered, as long as their files stay as they are.
    """
    files = [folder / name for name in (SAMPLES, EFFECTS, SUMS)]
    stamps = [path.stat() for path in files if path.is_file()]
    stamped = tuple((own.st_ino, own.st_size, own.st_mtime_ns, own.st_ctime_ns) for own in stamps)
    return without_few(_average_effects(folder, stamped))


@functools.lru_cache(maxsize=4)
def _average_effects(folder: Path, stamps: tuple[tuple[int, ...], ...]) -> pd.DataFrame:
    """The average effects of tables with these stamps."""
    group_of = read_groups(folder)
    groups = np.unique(group_of.to_numpy())
    summed = has_sums(folder)
    names = [pd.Index(own) for own in read_cells(folder)] if summed else [_names(folder, column) for column in CELL]
    cells = pd.MultiIndex.from_product(names, names=CELL)
    width = max(1, SUMS_AT_ONCE // max(len(groups), 1))
    frames = []
    for start in range(0, max(len(cells), 1), width):  # a shard may have no cell at all
        block = cells[start : start + width]
        totals, counts = np.zeros((2, len(groups) * len(block)))
        for rows in _summed_rows(folder) if summed else _rows(folder, names, group_of):
            here = (rows.cell >= start) & (rows.cell < start + len(block))
            place = np.searchsorted(groups, rows.group[here]) * len(block) + rows.cell[here] - start
            np.add.at(totals, place, rows.effect[here])
            np.add.at(counts, place, rows.images[here])
        frames.append(_frame(block, totals.reshape(len(groups), -1), counts.reshape(len(groups), -1)))
    return pd.concat(frames, ignore_index=True)


def interactions(folder: Path) -> pd.DataFrame:
    """Interaction of each set of units, its effect minus the sum of its units' own, e(u, v) - e(u) - e(v): means.

    A set is a unit that is named after others of the run, such as c1+c4; its matched controls set other units, and have
    none.

    Returns:
        Columns condition, unit (the set), class, effect (mean of the set's), additive (mean of the sum of its units'),
        interaction (mean of the difference), and low, high, reason, p, error, skewness, effective, clusters, images of
        the interaction as of `average_effects`; no rows where the run has no sets of units, or not the rows of all
        classes.
    """
    if not has_all_rows(folder):
        return pd.DataFrame(columns=INTERACTIONS)
    units = _names(folder, "unit")
    sets = {name: tuple(name.split(SET_JOIN)) for name in units if SET_JOIN in name and MATCHED_CONTROL not in name}
    sets = {name: members for name, members in sets.items() if set(members) <= set(units)}
    if not sets:
        return pd.DataFrame(columns=INTERACTIONS)
    wide = _by_unit(folder, units[units.isin([*sets, *(member for members in sets.values() for member in members)])])
    groups = read_groups(folder).reindex(wide.index)
    frames = []
    for name, members in sets.items():
        effect, additive = wide[name], functools.reduce(operator.add, (wide[member] for member in members))
        difference = effect - additive
        difference = difference.mask(difference.abs() < RESOLUTION, 0.0)
        by_group = difference.groupby(groups.to_numpy())
        cells = pd.MultiIndex.from_tuples([(condition, name, label) for condition, label in wide[name]], names=CELL)
        found = _frame(cells, by_group.sum().to_numpy(), by_group.count().to_numpy())
        measured = difference.columns[difference.notna().any()]
        of_set, of_units = (each[measured].mean().to_numpy() for each in (effect, additive))
        frames.append(found.rename(columns={"mean": "interaction"}).assign(effect=of_set, additive=of_units))
    return without_few(pd.concat(frames, ignore_index=True)[INTERACTIONS])


def _by_unit(folder: Path, units: pd.Index[str]) -> pd.DataFrame:
    """Effects of some units: a row per sample, columns (unit, condition, class)."""
    tables = row_groups(folder / EFFECTS, ["sample", *CELL, "effect"])
    rows = pd.concat([rows[rows["unit"].isin(units)] for rows in (table.to_pandas() for table in tables)])
    rows = rows.astype({**dict.fromkeys(CELL, str), "effect": float})
    order = rows[["condition", "class"]].drop_duplicates()
    columns = [(unit, *cell) for unit in units for cell in order.itertuples(index=False)]
    return rows.pivot(index="sample", columns=["unit", "condition", "class"], values="effect")[columns]


def _names(folder: Path, column: str) -> pd.Index[str]:
    """The names in a column of the effects table, in its order."""
    tables = row_groups(folder / EFFECTS, [column])
    return pd.Index(dict.fromkeys(name for table in tables for name in table[column].to_pandas().unique()))


class _Rows(NamedTuple):
    """Number of the cell, group, effect or sum of effects, and images, of each row; shapes (N,)."""

    cell: _Places
    group: _Places
    effect: _Array
    images: _Places


def _rows(folder: Path, names: Sequence[pd.Index[str]], group_of: pd.Series[int]) -> Iterator[_Rows]:
    """The rows of effects, a row group at a time."""
    for table in row_groups(folder / EFFECTS, ["sample", *CELL, "effect"]):
        rows = table.to_pandas()
        columns = [rows[name].cat for name in CELL]
        codes = [known.get_indexer(own.categories)[own.codes] for known, own in zip(names, columns, strict=True)]
        cell = np.ravel_multi_index(codes, [len(known) for known in names])
        effect = rows["effect"].to_numpy(float)
        rounded = np.where(np.abs(effect) < RESOLUTION, 0.0, effect)
        yield _Rows(cell, group_of.loc[rows["sample"]].to_numpy(), rounded, np.ones(len(rows), np.int64))


def _summed_rows(folder: Path) -> Iterator[_Rows]:
    """The rows of sums, a row group at a time."""
    cells = read_cells(folder)
    for table in sum_rows(folder):
        group, total, images = (table[name].to_numpy() for name in ("group", "total", "images"))
        yield _Rows(cells.places(table), group, total * QUANTUM, images)


def _frame(cells: pd.MultiIndex, totals: _Array, counts: _Array) -> pd.DataFrame:
    found = means(totals, counts, RESOLUTION)
    low, high = found.ends()
    columns = {"mean": found.estimate, "low": low, "high": high, "reason": found.reason, "p": found.p_values()}
    columns |= {name: getattr(found, name) for name in ("error", "skewness", "effective", "clusters")}
    images = counts.sum(axis=0).astype(np.int64)
    return cells.to_frame(index=False).assign(**columns, images=images)[images > 0]


def at_level(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    """The result of `average_effects` with intervals of another level."""
    columns = ["mean", "error", "skewness", "effective", "clusters", "reason"]
    low, high = Means(*(frame[name].to_numpy() for name in columns)).ends(level)
    return frame.assign(low=low.clip(-1, 1), high=high.clip(-1, 1))  # as any effect on a probability


def grouped_means(
    rows: pd.DataFrame,
    by: list[str],
    values: Sequence[str],
    resolution: float = 0.0,
    level: float = LEVEL,
    sizes: Collection[str] = (),
) -> pd.DataFrame:
    """Means of columns over groups of rows, with intervals over patients.

    Args:
        rows: columns of `by` and `values`; sample; group, the patient.
        by: columns whose values name a group of rows.
        values: columns of numbers.
        resolution: smaller sizes are rounding, and count as 0.
        level: of the intervals.
        sizes: those of the values that are absolute ones, so that no interval of them goes below 0.

    Returns:
        A row per group of rows, in their order: `by`; clusters (patients), images, objects (rows); and for each of
        `values` NAME, NAME_low, NAME_high, NAME_reason (why there is no interval).
    """
    found = []
    for key, own in rows.groupby(by, sort=False):
        groups = own["group"].to_numpy()
        counts = {"clusters": own["group"].nunique(), "images": own["sample"].nunique(), "objects": len(own)}
        row = dict(zip(by, key, strict=True)) | counts
        for name in values:
            interval = mean_interval(own[name].to_numpy(float), groups, resolution, level)
            row |= (interval.within(0.0, math.inf) if name in sizes else interval).columns(name)
        found.append(row)
    return without_few(pd.DataFrame(found))
