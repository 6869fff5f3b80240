"""Sums of effects by group: by hand, exact, and the same in whatever parts they were added."""

import numpy as np
import pyarrow as pa
import pytest

from dovision.results import effect_sums
from dovision.results.effect_sums import LOG_ODDS_QUANTUM, QUANTUM, Cells, merged_sums, sums_columns, sums_schema

CELLS = Cells(("clean", "eps=0.1"), ("r0c0", "r0c1", "r1c0"), ("no", "yes"))


def table(*batches):
    return pa.Table.from_batches(batches, sums_schema(CELLS))


def sums(group, effect, log_odds, done):
    columns = {"effect": effect.ravel(), "log_odds_effect": log_odds.ravel()}
    return sums_columns(CELLS, group, pa.RecordBatch.from_pydict(columns), done)


def some_groups(*tables):
    """The rows of some groups of tables, as `merged_sums` asks for them."""
    return lambda groups: (rows if groups is None else rows.filter(np.isin(rows["group"], groups)) for rows in tables)


def test_sums_and_counts_by_hand_and_the_smallest_effect_that_counts_exactly():
    effect = np.zeros((3, 2, 3, 2), np.float32)
    effect[:, 0, 1, 1] = 0.25, -0.5, 2**-30  # the last one is rounding
    done = np.zeros((3, 2, 3), bool)
    done[:, 0, 1] = True
    log_odds = np.where(effect == 0.25, np.float32(np.inf), 8 * effect)
    rows = sums(np.array([5, 3, 5]), effect, log_odds, done).to_pylist()
    found = [(row["group"], row["condition"], row["unit"], row["class"], row["images"]) for row in rows]
    assert found == [(group, "clean", "r0c1", name, images) for group, images in ((3, 1), (5, 2)) for name in CELLS[2]]
    assert [row["total"] * QUANTUM for row in rows] == [0, -0.5, 0, 0.25]
    assert [row["log_odds"] * LOG_ODDS_QUANTUM for row in rows] == [0, -4, 0, 1e4]  # infinite log-odds are cut
    effect = np.full((1, *CELLS.shape), np.nextafter(np.float32(2**-24), np.float32(1)), np.float32)
    rows = sums(np.array([0]), effect, effect, np.ones((1, 2, 3), bool))
    assert (rows["total"].to_numpy() * QUANTUM == effect.reshape(-1)).all()


@pytest.mark.parametrize("at_once", [1, 30, 10**6])
def test_merged_sums_do_not_depend_on_the_parts(monkeypatch, at_once):
    random = np.random.default_rng(0)
    effect = (random.random((40, *CELLS.shape)) - 0.5).astype(np.float32)
    images = random.integers(0, 7, 40), effect, 9 * effect, random.random((40, *CELLS.shape[:2])) < 0.8
    whole = table(sums(*images))
    order = np.random.default_rng(1).permutation(40)
    parts = [
        table(*(sums(*(column[[row]] for column in images)) for row in some)) for some in np.split(order, [3, 3, 21])
    ]
    monkeypatch.setattr(effect_sums, "SUMS_AT_ONCE", at_once)
    assert table(*merged_sums(some_groups(*parts), sums_schema(CELLS))).equals(whole)
