"""The order of a split's samples: the first N are a sample of the whole, for every N.

Samples are stratified by class and spread over groups (patients). A fixed seed makes the order part of the data: it is
the same for every run, whatever the seed of the run.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

ORDER_VERSION = 1  # raised whenever the same labels and groups get another order
SEED = 0
RARE_SHARE = 0.01  # share of the samples; classes below it are one stratum, or a long tail would come last

_Integers = npt.NDArray[np.int64]


def sample_order(label: npt.NDArray[Any], group: npt.NDArray[np.int64]) -> _Integers:
    """The row of each sample, shape (N,): a permutation.

    Among the first n samples, the number of those of a class is within 1 of n times the class's share, for every n.
    Classes with a share below RARE count as one class here; between them, and between the groups of a class, samples
    are spread evenly from a random start. So a rare class of s samples, one of k rare ones with R samples in all, is
    within 1 + s (k + 1) / R of its share: at any place of the even spread each class is within 1 of its own share, and
    so all k are within k of theirs, and R within 1 of its share of the whole.

    Args:
        label: class numbers, -1 if not known, shape (N,); or for multilabel ones, zeros and nan (not known), shape
            (N, K).
        group: group (patient) of each row, shape (N,).
    """
    random = np.random.default_rng(SEED)
    stratum = strata(label)
    rows = random.permutation(len(stratum))
    cell = (
        pd.DataFrame({"stratum": stratum, "group": group}).groupby(["stratum", "group"], sort=False).ngroup().to_numpy()
    )
    for key in (cell, stratum):  # groups within each class, then the classes
        rows = rows[np.argsort(_spread(key[rows], random), kind="stable")]
    frequent = np.bincount(stratum, minlength=1) >= RARE_SHARE * len(stratum)
    queue = pd.factorize(np.where(frequent[stratum], stratum, -1)[rows])[0]
    order = np.empty_like(rows)
    order[np.argsort(_turns(np.bincount(queue)), kind="stable")] = rows[np.argsort(queue, kind="stable")]
    return order


def strata(label: npt.NDArray[Any]) -> _Integers:
    """Class to stratify each row by, shape (N,): its label; for multilabel its rarest label, or K.

    Rows of which no label is known are one class, which is 0 where there is no other.

    Args:
        label: as in `sample_order`.
    """
    if not (label >= 0).any():
        return np.zeros(len(label), np.int64)
    if label.ndim == 1:
        return np.where(label < 0, label.max() + 1, label).astype(np.int64)
    present = np.concatenate([label == 1, np.ones((len(label), 1), bool)], axis=1)
    count = present.sum(0)  # the last column, of rows without any label, is the most frequent
    return np.where(present, count, len(label) + 1).argmin(1)


def _spread(key: _Integers, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Position of each row in [0, 1): rows of equal `key` are equally spaced from a random start."""
    size = np.bincount(key)
    start = random.random(len(size))
    number = pd.Series(key).groupby(key).cumcount().to_numpy()
    return (number + start[key]) / size[key]


def _turns(sizes: _Integers) -> _Integers:
    """Assign each position to a queue, shape (N,), so that each queue stays within 1 of its share.

    The member number j (from 0) of a queue of n among N has its place in [floor(j N / n), ceil((j + 1) N / n)); of the
    members that wait, that with the earliest end comes next.

    Source: Baruah et al., Proportionate progress, Algorithmica 15, 1996, for one resource.
    """
    total, given, waiting = int(sizes.sum()), [0] * len(sizes), list[tuple[int, int]]()
    arriving = defaultdict(list, {0: list(range(len(sizes)))})
    turns = np.empty(total, np.int64)
    for turn in range(total):
        for queue in arriving.pop(turn, ()):
            heapq.heappush(waiting, (-(-(given[queue] + 1) * total // int(sizes[queue])), queue))
        turns[turn] = queue = heapq.heappop(waiting)[1]
        given[queue] += 1
        if given[queue] < sizes[queue]:
            arriving[max(turn + 1, given[queue] * total // int(sizes[queue]))].append(queue)
    return turns
