"""Properties of seeded cuts."""

import logging
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dovision.datasets import _splits
from dovision.datasets._splits import Cut

samples = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2)), max_size=60)
films = st.lists(st.tuples(st.integers(0, 40), st.sets(st.integers(0, 3))), min_size=1, max_size=150)
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


def matrix(sets) -> np.ndarray:
    """Labels in zeros and ones, shape (N, 4)."""
    return np.array([[label in own for label in range(4)] for own in sets], dtype=np.float32).reshape(-1, 4)


def parted(groups, *given):
    """A cut, which is a partition that keeps groups together."""
    rows = _splits.split_groups(groups, *given)
    assert sorted(sum(rows.values(), ())) == list(range(len(groups)))
    assert sum(len({groups[row] for row in own}) for own in rows.values()) == len(set(groups))
    return rows


@given(samples, st.floats(0, 0.49), st.floats(0, 0.49), st.integers(0, 5))
def test_a_cut_is_a_partition_that_keeps_groups_together(pairs, val, test, seed):
    groups, labels = [group for group, _ in pairs], [label for _, label in pairs]
    rows = parted(groups, labels, val, test, seed)
    assert rows == _splits.split_groups(groups, labels, val, test, seed)


@given(films, st.integers(0, 5))
def test_a_cut_by_several_labels_keeps_groups_together_and_has_labels_of_three_groups_alone_everywhere(pairs, seed):
    groups, labels = [group for group, _ in pairs], matrix([own for _, own in pairs])
    rows = parted(groups, labels, 0.15, 0.15, seed)
    held = {group: labels[[row for row, other in enumerate(groups) if other == group]].any(0) for group in set(groups)}
    alone = Counter(int(own.argmax()) for own in held.values() if own.sum() == 1)
    for label, count in alone.items():
        if count >= 3:
            assert all(labels[list(own), label].any() for own in rows.values())


@given(st.lists(st.integers(1, 6), min_size=60, max_size=120), st.integers(0, 5))
def test_shares_of_rows_are_within_a_point_or_the_largest_group(sizes, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes).tolist()
    labels = matrix([{group % 4, group % 3} for group in groups])
    rows = _splits.split_groups(groups, labels, 0.15, 0.15, seed)
    for name, share in SHARES.items():
        assert abs(len(rows[name]) - share * len(groups)) <= max(0.01 * len(groups), max(sizes))


def test_shares_that_large_groups_forbid_are_said(caplog):
    _splits.split_groups(["one"] * 150 + ["two"] * 50, [0] * 200, 0, 0.5, seed=0)
    assert "train gets 0.250 of the images, not 0.500: groups are large" in caplog.text


GIVEN = ["train", "train", "train", "val", "val", "test", "test"]
LEAKY = ["a", "b", "c", "b", "d", "c", "d"]  # b in train and val, c in train and test, d in val and test


@pytest.mark.parametrize(
    ("leaking", "expected"), [("warn", ((0, 1, 2), (3, 4), (5, 6))), ("drop", ((0,), (3,), (5, 6)))]
)
def test_groups_in_two_splits_are_warned_of_or_left_in_the_later_one(caplog, leaking, expected):
    rows = _splits.split_rows(GIVEN, LEAKY, torch.zeros(7, dtype=torch.int64), ["x"], Cut(0.1, 0.1, 0, leaking), ())
    assert tuple(rows.values()) == expected
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("val has 1 images of 1 groups that are in later splits, too, such as d")
    assert said[1].startswith("train has 2 images of 2 groups that are in later splits, too, such as b")
    with pytest.raises(ValueError, match="a group must be in train or in val, but 1 are in both, such as group b"):
        _splits.split_rows(GIVEN, LEAKY, torch.zeros(7, dtype=torch.int64), ["x"], Cut(0.1, 0.1, 0), ())


def test_shares_and_absent_classes_are_said_and_recorded(caplog):
    caplog.set_level(logging.INFO)
    labels = torch.tensor([0, 1, 0, 0])
    rows = _splits.split_rows(
        ["train", "train", "val", "test"], "abcd", labels, ["x", "y"], Cut(0.1, 0.1, 0), ["train"]
    )
    assert "splits: train 2 (0.500), val 1 (0.250), test 1 (0.250) of 4 images" in caplog.text
    assert "test has no image of y" in caplog.text
    images = {"train": 2, "val": 1, "test": 1}
    assert _splits.split_facts(rows, labels, ["x", "y"]) == {
        "images": images,
        "absent_classes": {"val": ["y"], "test": ["y"]},
    }


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (None, ["train/p/person1_bacteria_1.jpeg", "train/p/person1_virus_2.jpeg", "test/p/person1_virus_3.jpeg"]),
        (r"person\d+", ["person1"] * 3),
        (r".*/person\d+", ["train/p/person1", "train/p/person1", "test/p/person1"]),
        (r"(\w+/person\d+)", ["p/person1"] * 3),
        (r"^\w+(?=/)", ["train", "train", "test"]),
        (r"[a-z]+(?=_)", ["bacteria", "virus", "virus"]),
    ],
)
def test_a_pattern_with_a_slash_is_looked_for_in_the_path(pattern, groups):
    names = ["train/p/person1_bacteria_1.jpeg", "train/p/person1_virus_2.jpeg", "test/p/person1_virus_3.jpeg"]
    assert _splits.groups_by_pattern(names, pattern) == groups
