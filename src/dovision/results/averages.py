"""Average effects over images with intervals, from an effects table of any length, in flat memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from dovision.results.tables import EFFECTS, read_groups, row_groups

Array = npt.NDArray[np.float64]
CELL = ("arm", "unit", "class")
INTERVAL = "95% percentile intervals of a Poisson bootstrap of whole groups (patients or images), 1000 resamples"


def average_effects(folder: Path, seed: int, draws: int = 1000, level: float = 0.95) -> pd.DataFrame:
    """ACE, the mean effect over images of each unit on each class in each arm, with a bootstrap interval.

    The table is read row group by row group. In each resample a group (patient) counts Poisson(1) times, a number
    that depends on (seed, group) alone: so sums can be kept as rows pass by, for groups in any order. Needs
    2 * draws * cells * 8 bytes, 10 MB for 4 arms x 16 units x 10 classes.

    Args:
        folder: the run directory.
        seed: of the resampling.

    Returns:
        Columns arm, unit, class, mean, low, high, images, in the order of the table; low and high are nan where more
        than a tenth of the resamples are empty, as with one or two groups.

    Raises:
        FileNotFoundError, ValueError: a table is missing or damaged.

    Source: Poisson resampling as in Chamandy et al., Estimating uncertainty for massive data streams, 2012.
    """
    group_of = read_groups(folder)
    names = _names(folder)
    cells = pd.MultiIndex.from_product(names, names=CELL)
    total, count = np.zeros((draws + 1, len(cells))), np.zeros((draws + 1, len(cells)))
    for table in row_groups(folder / EFFECTS, ["sample", *CELL, "effect"]):
        groups, row = np.unique(group_of.loc[table["sample"].to_numpy()].to_numpy(), return_inverse=True)
        place = row * len(cells) + _cell_numbers(table, names)
        weights = np.stack([_weights(seed, int(group), draws) for group in groups], axis=1)
        for sums, values in ((total, table["effect"].to_numpy()), (count, np.ones(len(place)))):
            per_group = np.bincount(place, values, len(groups) * len(cells)).reshape(len(groups), -1)
            sums += weights @ per_group
    return _frame(cells, total, count, level)


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


def _weights(seed: int, group: int, draws: int) -> Array:
    random = np.random.default_rng([seed, group % 2**64])
    return np.concatenate([[1.0], random.poisson(1, draws)])  # the first counts each group once: the estimate


def _frame(cells: pd.MultiIndex, total: Array, count: Array, level: float) -> pd.DataFrame:
    seen = count[0] > 0
    frame = cells[seen].to_frame(index=False)
    count, total = count[:, seen], total[:, seen]
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    empty = np.isnan(mean).mean(axis=0) > 0.1
    mean[1:, empty] = 0  # any number; keeps nanquantile from warning
    low, high = np.where(empty, np.nan, np.nanquantile(mean[1:], [(1 - level) / 2, (1 + level) / 2], axis=0))
    return frame.assign(mean=mean[0], low=low, high=high, images=count[0].astype(np.int64))
