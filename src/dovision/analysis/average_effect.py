"""Average effects with intervals: over the images of an effects table of any length, and over groups of rows."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.functional.effects import RESOLUTION
from dovision.functional.estimates import without_few
from dovision.functional.intervals import (
    EFFECT_BOUNDS,
    INTERACTION_BOUNDS,
    LEVEL,
    UNBOUNDED,
    Bounds,
    bounded_means,
    mean_interval,
    means,
    share_of,
    spread,
)
from dovision.store.effect_sums import (
    CELL,
    LOG_ODDS_QUANTUM,
    LOG_ODDS_SUM,
    QUANTUM,
    SUMS,
    SUMS_AT_ONCE,
    has_sums,
    read_cells,
    sum_rows,
    whole_log_odds,
)
from dovision.store.tables import EFFECTS, SAMPLES, has_all_rows, read_groups, row_groups
from dovision.types import MATCHED_CONTROL, SET_JOIN, Box

_Array = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]
# Of N rows: the number of the cell, the group, and the sum of effects, the same in log-odds, and images; shapes (N,).
_Rows = tuple[_Places, _Places, tuple[_Array, _Array, _Places]]
INTERACTIONS = [*CELL, "effect", "additive", "interaction", "low", "high", "reason", "p", "clusters", "images"]
LARGE_EFFECT = 0.1  # size of an effect on a probability, fixed beforehand, beyond which groups are counted
NOT_RECORDED = "log-odds were not recorded by this version"


def average_effects(folder: Path) -> pd.DataFrame:
    """Mean effect (ACE) of each unit on each class in each condition, with intervals over groups.

    The table is read row group by row group, once for every SUMS_AT_ONCE sums of a group's effects. It is that of sums
    where the run has one, since it keeps the rows of some classes alone; the numbers are the same.

    Whether an effect differs from 0 is decided in log-odds, of which Student's t holds; the average of effects on the
    probability, decided by few images, has an interval that holds by a theorem, and is wide for few groups.

    Returns:
        Columns condition, unit, class; mean (over groups of the group's mean effect on the probability), low, high,
        reason (why there is no interval), p (two-sided, of "the mean is 0"); log_odds (the same mean of effects in
        log-odds), log_odds_low, log_odds_high, log_odds_reason, log_odds_p; share_beyond (of the groups whose effect on
        the probability is larger than LARGE_EFFECT, with the sign of the average effect in log-odds), share_beyond_low,
        share_beyond_high (Clopper and Pearson's); clusters (groups), images; in the order of the table. Effects below
        RESOLUTION count as 0. The last few tables are remembered, as long as their files stay as they are.
    """
    return without_few(_average_effects(folder, _stamps(folder)).copy())


def at_level(folder: Path, rows: pd.DataFrame, level: float) -> pd.DataFrame:
    """Rows of `average_effects` with intervals of another level; reads the table again."""
    chosen = tuple(rows[list(CELL)].itertuples(index=False, name=None))
    return without_few(_average_effects(folder, _stamps(folder), chosen, level).set_index(rows.index))


def _stamps(folder: Path) -> tuple[tuple[int, ...], ...]:
    """Inodes, sizes and times of the files of a run's effects."""
    files = [folder / name for name in (SAMPLES, EFFECTS, SUMS)]
    stamps = [path.stat() for path in files if path.is_file()]
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stamps)


@functools.lru_cache(maxsize=4)
def _average_effects(
    folder: Path,
    stamps: tuple[tuple[int, ...], ...],
    chosen: tuple[tuple[str, ...], ...] | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """Average effects of tables with these stamps, in all cells or in the chosen ones."""
    every = _every_cell(folder)
    cells = every if chosen is None else pd.MultiIndex.from_tuples(chosen, names=CELL)
    width = max(1, SUMS_AT_ONCE // max(read_groups(folder).nunique(), 1))
    blocks = [cells[start : start + width] for start in range(0, max(len(cells), 1), width)]  # a run may have none
    return pd.concat([_frame(block, _sums(folder, every, block), level) for block in blocks], ignore_index=True)


def _every_cell(folder: Path) -> pd.MultiIndex:
    """All conditions, units and classes of a run."""
    summed = has_sums(folder)
    names = [pd.Index(axis) for axis in read_cells(folder)] if summed else [_names(folder, column) for column in CELL]
    return pd.MultiIndex.from_product(names, names=CELL)


def _sums(folder: Path, every: pd.MultiIndex, cells: pd.MultiIndex) -> _Array:
    """Sums of effects, sums in log-odds, and image counts of some cells, shape (3, G, C), by group."""
    group_of = read_groups(folder)
    groups, number = np.unique(group_of.to_numpy()), cells.get_indexer(every)
    sums = np.zeros((3, len(groups) * len(cells)))
    names = [every.get_level_values(name).unique() for name in CELL]  # in order, as levels are not
    for cell, group, added in _summed_rows(folder) if has_sums(folder) else _rows(folder, names, group_of):
        here = number[cell] >= 0
        position = np.searchsorted(groups, group[here]) * len(cells) + number[cell[here]]
        for total, values in zip(sums, added, strict=True):
            np.add.at(total, position, values[here])
    return sums.reshape(3, len(groups), -1)


def beyond_elsewhere(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """How far a mean effect in log-odds goes beyond its matched control: units of like area that lie apart.

    The mean over groups of the effect, with the sign of its mean, minus the mean size of effects of these units.

    Args:
        folder: of a run whose units have the same places in all images.
        rows: condition, unit, class, and the unit's box: top, left, bottom, right.

    Returns:
        Columns elsewhere (above 0: beyond), elsewhere_low, elsewhere_high, elsewhere_reason,
        elsewhere_p (two-sided, of "the mean is 0"), a row for each of `rows`; nan where no unit lies apart.
    """
    every, differences = _every_cell(folder), []
    for _, of_cell in rows.groupby(["condition", "class"], sort=False):
        top, left, bottom, right = (of_cell[name].to_numpy(float) for name in Box._fields)
        area = (bottom - top) * (right - left)
        above = np.maximum.outer(top, top) >= np.minimum.outer(bottom, bottom)
        apart = above | (np.maximum.outer(left, left) >= np.minimum.outer(right, right))
        like = apart & (area[:, None] <= 1.25 * area) & (area <= 1.25 * area[:, None])
        _, log_odds, counts = _sums(folder, every, pd.MultiIndex.from_frame(of_cell[list(CELL)]))
        with np.errstate(invalid="ignore"):
            effect = log_odds / counts
            present = np.isfinite(effect).astype(float)
            size = np.abs(np.nan_to_num(effect)) @ like.T / (present @ like.T)
        difference = effect * np.sign(np.nanmean(effect, axis=0)) - size
        usable = np.isfinite(difference).astype(float)
        tested = means(np.nan_to_num(difference), usable)
        columns = pd.DataFrame(tested.columns("elsewhere"), of_cell.index)
        differences.append(columns[tested.clusters > 0])
    return pd.concat(differences).reindex(rows.index)


def interactions(folder: Path, level: float = LEVEL) -> pd.DataFrame:
    """Interaction of each set of units, its effect minus those of its units, e(u, v) - e(u) - e(v).

    A set is a unit that is named after others of the run, such as c1+c4; its matched controls set other units, and have
    none.

    Returns:
        Columns condition, unit (the set), class, effect (mean of the set's), additive (mean of the sum of its units'),
        interaction (mean of the difference), and low, high, reason, p, clusters, images of the interaction as of
        `average_effects`; no rows where the run has no sets of units, or not the rows of all classes.
    """
    if not has_all_rows(folder):
        return pd.DataFrame(columns=INTERACTIONS)
    units = unit_names(folder)
    sets = {name: tuple(name.split(SET_JOIN)) for name in units if SET_JOIN in name and MATCHED_CONTROL not in name}
    sets = {name: members for name, members in sets.items() if set(members) <= set(units)}
    if not sets:
        return pd.DataFrame(columns=INTERACTIONS)
    wide = effects_by_unit(folder, units[units.isin([*sets, *itertools.chain(*sets.values())])])
    groups = read_groups(folder).reindex(wide.index)
    frames = []
    for name, members in sets.items():
        effect, additive = wide[name], functools.reduce(operator.add, (wide[member] for member in members))
        difference = effect - additive
        difference = difference.mask(difference.abs() < RESOLUTION, 0.0)
        effect, additive = (effects.where(difference.notna()) for effects in (effect, additive))
        of_groups = [effects.groupby(groups.to_numpy()) for effects in (difference, effect, additive)]
        count = of_groups[0].count().to_numpy()
        interaction = bounded_means(of_groups[0].sum().to_numpy(), count, INTERACTION_BOUNDS, RESOLUTION, level)
        of_set, of_units = (by_group.mean().mean().to_numpy() for by_group in of_groups[1:])
        cells = pd.MultiIndex.from_tuples([(condition, name, label) for condition, label in wide[name]], names=CELL)
        columns = interaction.columns() | {"effect": of_set, "additive": of_units, "interaction": interaction.estimate}
        frame = cells.to_frame(index=False).assign(**columns, clusters=interaction.clusters, images=count.sum(axis=0))
        frames.append(frame[frame["images"] > 0])
    return without_few(pd.concat(frames, ignore_index=True)[INTERACTIONS])


def effects_by_unit(folder: Path, units: pd.Index[str], value: str = "effect") -> pd.DataFrame:
    """Effects of the given units: a row per sample, columns (unit, condition, class)."""
    tables = row_groups(folder / EFFECTS, ["sample", *CELL, value])
    rows = pd.concat([rows[rows["unit"].isin(units)] for rows in (table.to_pandas() for table in tables)])
    rows = rows.astype({**dict.fromkeys(CELL, str), value: float})
    order = rows[["condition", "class"]].drop_duplicates()
    columns = [(unit, *cell) for unit in units for cell in order.itertuples(index=False)]
    return rows.pivot(index="sample", columns=["unit", "condition", "class"], values=value)[columns]


def unit_names(folder: Path) -> pd.Index[str]:
    """Names of a run's units, in the order of its effects."""
    return _names(folder, "unit")


def _names(folder: Path, column: str) -> pd.Index[str]:
    """The names in a column of the effects table, in its order."""
    tables = row_groups(folder / EFFECTS, [column])
    return pd.Index(dict.fromkeys(name for table in tables for name in table[column].to_pandas().unique()))


def _rows(folder: Path, names: Sequence[pd.Index[str]], group_of: pd.Series[int]) -> Iterator[_Rows]:
    """Iterate over the rows of effects, one row group at a time."""
    for table in row_groups(folder / EFFECTS, ["sample", *CELL, "effect", "log_odds_effect"]):
        rows = table.to_pandas()
        columns = [rows[name].cat for name in CELL]
        codes = [axis.get_indexer(column.categories)[column.codes] for axis, column in zip(names, columns, strict=True)]
        cell = np.ravel_multi_index(codes, [len(axis) for axis in names])
        effect = rows["effect"].to_numpy(float)
        rounded = np.where(np.abs(effect) < RESOLUTION, 0.0, effect)
        log_odds = whole_log_odds(rows["log_odds_effect"].to_numpy()) * np.float64(LOG_ODDS_QUANTUM)
        yield cell, group_of.loc[rows["sample"]].to_numpy(), (rounded, log_odds, np.ones(len(rows), np.int64))


def _summed_rows(folder: Path) -> Iterator[_Rows]:
    """Iterate over the rows of sums, one row group at a time; log-odds are nan in runs of earlier versions."""
    cells = read_cells(folder)
    for table in sum_rows(folder):
        group, total, images = (table[name].to_numpy() for name in ("group", "total", "images"))
        summed = LOG_ODDS_SUM in table.column_names
        log_odds = table[LOG_ODDS_SUM].to_numpy() * LOG_ODDS_QUANTUM if summed else np.full(len(group), np.nan)
        yield cells.places(table), group, (total * QUANTUM, log_odds, images)


def _frame(cells: pd.MultiIndex, sums: _Array, level: float) -> pd.DataFrame:
    """Table of `average_effects` from sums of effects, sums in log-odds, and image counts, shape (3, G, C)."""
    totals, log_odds, counts = sums
    averages = bounded_means(totals, counts, EFFECT_BOUNDS, RESOLUTION, level)
    recorded = ~np.isnan(log_odds).any(axis=0)
    columns = averages.columns() | means(np.nan_to_num(log_odds), counts, level=level).columns("log_odds")
    for name in ("log_odds", "log_odds_low", "log_odds_high", "log_odds_p"):
        columns[name] = np.where(recorded, columns[name], np.nan)
    columns["log_odds_reason"] = np.where(recorded, columns["log_odds_reason"], NOT_RECORDED)
    sign = np.sign(np.where(recorded, columns["log_odds"], averages.estimate))
    hits = (totals * sign > LARGE_EFFECT * np.maximum(counts, 1)).sum(axis=0)
    columns["share_beyond"] = hits / np.maximum(averages.clusters, 1)
    columns["share_beyond_low"], columns["share_beyond_high"] = share_of(hits, averages.clusters, level)
    images = counts.sum(axis=0).astype(np.int64)
    return cells.to_frame(index=False).assign(**columns, clusters=averages.clusters, images=images)[images > 0]


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
