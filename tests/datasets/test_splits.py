"""Properties of seeded cuts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dovision.datasets import _splits

samples = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2)), max_size=60)


@given(samples, st.floats(0, 0.49), st.floats(0, 0.49), st.integers(0, 5))
def test_a_cut_is_a_partition_that_keeps_groups_together(pairs, val, test, seed):
    groups, labels = [group for group, _ in pairs], [label for _, label in pairs]
    rows = _splits.split_groups(groups, labels, val, test, seed)
    assert sorted(sum(rows.values(), ())) == list(range(len(pairs)))
    of_split = [{groups[row] for row in own} for own in rows.values()]
    assert sum(map(len, of_split)) == len(set(groups))
    assert rows == _splits.split_groups(groups, labels, val, test, seed)


def test_each_label_is_cut_in_the_same_proportions():
    labels = [0] * 100 + [1] * 20
    rows = _splits.split_groups(range(120), labels, 0.1, 0.3, seed=3)
    counts = {name: (sum(r < 100 for r in own), sum(r >= 100 for r in own)) for name, own in rows.items()}
    assert counts == {"train": (60, 12), "val": (10, 2), "test": (30, 6)}
