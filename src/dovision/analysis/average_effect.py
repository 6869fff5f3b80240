"""Average effects over images with intervals, from an effects table of any length, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dovision.functional.effects import RESOLUTION
from dovision.functional.intervals import Means, means
from dovision.store.tables import EFFECTS, read_groups, row_groups

_Array = npt.NDArray[np.float64]
CELL = ("condition", "unit", "class")
SUMS_AT_ONCE = 8_000_000  # sums of groups that are held at once, of 8 bytes each


def average_effects(folder: Path) -> pd.DataFrame:
    """ACE, the mean effect over images of each unit on each class in each condition, with its interval over groups.

    The table is read row group by row group, once for every BLOCK sums of a group's effects.

    Args:
        folder: the run directory.

    Returns:
        Columns condition, unit, class, mean, low, high, reason (why there is no interval), p (two-sided, of "the mean
        is 0"), error, skewness, effective, clusters (as of `Means`), images, in the order of the table; effects below
        RESOLUTION count as 0.

    Raises:
        FileNotFoundError, ValueError: a table is missing or damaged.
    """
    group_of = read_groups(folder)
    groups = np.unique(group_of.to_numpy())
    names = _names(folder)
    cells = pd.MultiIndex.from_product(names, names=CELL)
    width = max(1, SUMS_AT_ONCE // max(len(groups), 1))
    frames = []
    for start in range(0, len(cells), width):
        block = cells[start : start + width]
        totals, counts = np.zeros((2, len(groups), len(block)))
        for group, cell, effect in _rows(folder, names, group_of, start, len(block)):
            of_row = np.unique(group, return_inverse=True)
            place = of_row[1] * len(block) + cell
            for sums, values in ((totals, effect), (counts, None)):
                found = np.bincount(place, values, len(of_row[0]) * len(block))
                sums[np.searchsorted(groups, of_row[0])] += found.reshape(-1, len(block))
        frames.append(_frame(block, means(totals, counts, RESOLUTION), counts.sum(axis=0)))
    return pd.concat(frames, ignore_index=True)


def _rows(
    folder: Path, names: list[list[str]], group_of: pd.Series[int], start: int, count: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], _Array]]:
    """Group, cell less `start`, and effect of the rows of some cells, a row group at a time."""
    for table in row_groups(folder / EFFECTS, ["sample", *CELL, "effect"]):
        cell = _cell_numbers(table, names) - start
        chosen = (cell >= 0) & (cell < count)
        group = group_of.loc[table["sample"].to_numpy()[chosen]].to_numpy()
        effect = table["effect"].to_numpy()[chosen].astype(np.float64)
        yield group, cell[chosen], np.where(np.abs(effect) < RESOLUTION, 0.0, effect)


def at_level(frame: pd.DataFrame, level: float) -> pd.DataFrame:
    """The result of `average_effects` with intervals of another level."""
    columns = ["mean", "error", "skewness", "effective", "clusters", "reason"]
    low, high = Means(*(frame[name].to_numpy() for name in columns)).ends(level)
    return frame.assign(low=low, high=high)


def _names(folder: Path) -> list[list[str]]:
    seen: list[dict[str, None]] = [{}, {}, {}]
    for table in row_groups(folder / EFFECTS, CELL):
        for names, column in zip(seen, table.columns, strict=True):
            for chunk in column.chunks:
                names.update(dict.fromkeys(chunk.dictionary.to_pylist()))
    return [list(names) for names in seen]


def _cell_numbers(table: pa.Table, names: list[list[str]]) -> npt.NDArray[np.int64]:
    codes = []
    for column, known in zip(CELL, names, strict=True):
        local = table[column].unify_dictionaries().combine_chunks()
        number = np.array([known.index(name) for name in local.dictionary.to_pylist()])
        codes.append(number[local.indices.to_numpy()])
    return np.ravel_multi_index(codes, [len(known) for known in names])


def _frame(cells: pd.MultiIndex, found: Means, images: _Array) -> pd.DataFrame:
    low, high = found.ends()
    columns = {"mean": found.estimate, "low": low, "high": high, "reason": found.reason, "p": found.p_values()}
    columns |= {name: getattr(found, name) for name in ("error", "skewness", "effective", "clusters")}
    return cells.to_frame(index=False).assign(**columns, images=images.astype(np.int64))[images > 0]
