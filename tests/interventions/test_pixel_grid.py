from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from dovision.interfaces import Context
from dovision.interventions.fills import Constant
from dovision.interventions.pixel_grid import PixelGrid
from dovision.types import Batch


def condition(image: torch.Tensor) -> Context:
    index = torch.arange(len(image))
    return Context(Batch(image, index, index, index), None)


@given(st.data())
def test_every_pixel_belongs_to_exactly_one_cell(data):
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    ones, grid = torch.ones(1, 2, height, width), PixelGrid(rows, columns)
    covered = sum(1 - grid.apply(ones, unit, condition(ones)) for unit in range(rows * columns))
    assert torch.equal(covered, ones)


def test_units_are_numbered_row_by_row():
    assert PixelGrid(2, 3).units((1, 9, 9)) == ("r0c0", "r0c1", "r0c2", "r1c0", "r1c1", "r1c2")


def test_a_cell_is_painted_on_all_channels_and_black_by_default():
    white = torch.ones(2, 3, 4, 4)
    expected = white.clone()
    expected[:, :, 2:, :2] = 0
    assert torch.equal(PixelGrid(2, 2).apply(white, 2, condition(white)), expected)
    grey = PixelGrid(2, 2, fill=Constant(0.5)).apply(white, 2, condition(white))
    assert torch.equal(grey, (white + expected) / 2)


def test_a_grid_as_fine_as_the_image_paints_pixels():
    white = torch.ones(1, 1, 3, 5)
    treated = PixelGrid(3, 5).apply(white, 7, condition(white))
    assert treated.sum() == 14
    assert treated[0, 0, 1, 2] == 0
