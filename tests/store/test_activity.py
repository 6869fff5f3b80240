from __future__ import annotations

import torch

from dovision.store.activity import ACTIVITY, activity_columns
from dovision.store.tables import write_table

CODE = torch.zeros(2, 5, 2, 3)
CODE[0, 3, 1, 2] = 6.0
CODE[1, 3] = 1.0
CODE[1, 4, 0, 0] = 9.0


def written(folder, units, code=CODE):
    write_table(folder / ACTIVITY, ACTIVITY.schema(), [activity_columns(torch.tensor([7, 8]), units, code)])
    return ACTIVITY.read(folder)


def test_latents_that_are_active_on_an_image_have_a_row_with_their_map(tmp_path):
    frame = written(tmp_path, ["z3", "z0"])
    assert frame[["sample", "unit", "mean", "largest"]].to_numpy().tolist() == [[7, "z3", 1, 6], [8, "z3", 1, 1]]
    assert frame["map"].iloc[0].tolist() == [0, 0, 0, 0, 0, 6]
    assert set(frame["rows"]) == {2}
    assert set(frame["columns"]) == {3}


def test_sets_and_controls_have_no_rows_and_a_code_without_positions_has_one(tmp_path):
    frame = written(tmp_path, ["z4", "z4 control 0", "z3+z4"], CODE[:, :, 0, 0])
    assert frame[["sample", "unit", "rows", "columns"]].to_numpy().tolist() == [[8, "z4", 1, 1]]


def test_a_batch_on_which_nothing_is_active_has_no_rows(tmp_path):
    assert written(tmp_path, ["z0", "z1"]).empty
