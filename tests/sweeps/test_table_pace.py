"""The pace of the tables at a job's end."""

import itertools

import pytest

from dovision.store.effect_sums import SUMS
from dovision.store.run_files import RUN
from dovision.sweeps.table_pace import table_pace


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", "summary"])
def test_copies_of_the_rows_are_joined_summed_and_summarised(small, tmp_path, keep):
    assert small(f"evaluation.keep={keep}", "evaluation.images=4") == 0
    (run,) = (path.parent for path in small.root.glob(f"*/{RUN}"))
    for name in ("samples.parquet", "effects.parquet", SUMS):
        if (run / name).is_file():
            (tmp_path / name).write_bytes((run / name).read_bytes())
    found = table_pace(tmp_path, itertools.count().__next__)
    assert found == (0.0, 0.0)  # each takes as many readings of the clock with many copies as with one
    few, many = (0, 1, 3, 0, 2, 3), (0, 101, 203, 0, 105, 260)  # two turns, of which the shorter times count
    seconds = iter((0, 1, 2, *few, *many))  # when sums, and the rest, begin and end: first, few, many
    found = table_pace(tmp_path, lambda: next(seconds))
    assert found.summed / found.joined == 100 / 101
    assert found.joined > 0
