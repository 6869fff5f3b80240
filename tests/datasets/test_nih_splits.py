"""Splits of ChestX-ray14 by the lists and by patient."""

from __future__ import annotations

import pytest

from dovision.datasets import _nih_splits, _nih_tables


def patients(entries, rows) -> dict[str, set[int]]:
    return {name: set(entries["patient"].iloc[part]) for name, part in rows.items()}


def test_the_test_split_is_as_listed_and_val_is_cut_by_patient_from_the_other_list(nih_root):
    entries, lists = _nih_tables.read_entries(nih_root), _nih_tables.lists(nih_root)
    rows = _nih_splits.split_films(entries, lists, val_fraction=0.34, test_fraction=0.5, seed=0)
    own = patients(entries, rows)
    assert own["test"] == {7, 8}
    assert len(own["val"]) == 2
    assert own["train"] | own["val"] == {1, 2, 3, 4, 5, 6}
    assert sorted(row for part in rows.values() for row in part) == list(range(16))  # whole patients
    again = _nih_splits.split_films(entries, lists, 0.34, 0.5, seed=1)
    assert patients(entries, again)["val"] != own["val"]


def test_without_lists_all_is_cut_by_patient(nih_root):
    entries = _nih_tables.read_entries(nih_root)
    own = patients(entries, _nih_splits.split_films(entries, None, val_fraction=0.25, test_fraction=0.25, seed=0))
    assert {name: len(part) for name, part in own.items()} == {"train": 4, "val": 2, "test": 2}


def test_a_patient_in_both_lists_is_refused(nih_root):
    entries, lists = _nih_tables.read_entries(nih_root), _nih_tables.lists(nih_root)
    mixed = lists._replace(test=lists.test | {"00000003_001.png"})
    with pytest.raises(ValueError, match=r"in train_val_list.txt or in test_list.txt, but 1 are in both.* patient 3\."):
        _nih_splits.split_films(entries, mixed, 0.2, 0.0, seed=0)


def test_a_film_in_no_list_is_refused(nih_root):
    entries, lists = _nih_tables.read_entries(nih_root), _nih_tables.lists(nih_root)
    short = lists._replace(train_val=lists.train_val - {"00000003_001.png"})
    with pytest.raises(ValueError, match=r"but 1 are in neither, such as 00000003_001.png"):
        _nih_splits.split_films(entries, short, 0.2, 0.0, seed=0)
