"""Splits of ChestX-ray14: the official lists, or a seeded cut; a patient is in one split only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision.datasets import _nih_tables, _splits

RowNumbers = npt.NDArray[np.int64]


def split_films(
    entries: pd.DataFrame, lists: _nih_tables.Lists | None, val_fraction: float, test_fraction: float, seed: int
) -> dict[str, RowNumbers]:
    """Rows of each split, by the official lists if they are given, else all by patient.

    Raises:
        ValueError: a film is in none of the lists, or a patient in both.
    """
    if lists is None:
        rows = by_patient(entries, val_fraction, test_fraction, seed)
    else:
        rows = official(entries, lists, val_fraction, seed)
    check_apart(entries, rows)
    return rows


def official(entries: pd.DataFrame, lists: _nih_tables.Lists, val_fraction: float, seed: int) -> dict[str, RowNumbers]:
    """Rows of each split: test as listed, val cut by patient from the other list."""
    train_val, test = (np.flatnonzero(entries["name"].isin(part)) for part in (lists.train_val, lists.test))
    unlisted = np.setdiff1d(np.arange(len(entries)), np.concatenate([train_val, test]))
    if len(unlisted):
        raise ValueError(
            f"each film must be in {' or '.join(_nih_tables.LISTS)}, but {len(unlisted):,} are in neither, such as "
            f"{entries['name'].iloc[unlisted[0]]}. Take the lists as they were released."
        )
    check_apart(entries, dict(zip(_nih_tables.LISTS, (train_val, test), strict=True)))
    rows = by_patient(entries.iloc[train_val], val_fraction, 0, seed)
    return {"train": train_val[rows["train"]], "val": train_val[rows["val"]], "test": test}


def by_patient(entries: pd.DataFrame, val_fraction: float, test_fraction: float, seed: int) -> dict[str, RowNumbers]:
    """Rows of each split, cut by patient; each has its share of the patients with and without a finding."""
    sick = (entries["findings"] != _nih_tables.HEALTHY).tolist()
    rows = _splits.split_groups(entries["patient"].tolist(), sick, val_fraction, test_fraction, seed)
    return {name: np.array(part, dtype=np.int64) for name, part in rows.items()}


def check_apart(entries: pd.DataFrame, rows: Mapping[str, RowNumbers]) -> None:
    """Raise if a patient is in two parts of the films."""
    patients = {name: entries["patient"].iloc[part].unique().tolist() for name, part in rows.items()}
    _splits.check_disjoint(patients, "patient", "Take the lists as they were released.")
