"""Boxes on whole pixels, by hand and as properties."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from dovision.functional import geometry
from dovision.types import Box, Resize

edges = st.integers(-5, 25)
boxes = st.tuples(edges, edges, st.integers(0, 20), st.integers(0, 20)).map(
    lambda t: Box(t[0], t[1], t[0] + t[2], t[1] + t[3])
)


def pixels(box: Box) -> set[tuple[int, int]]:
    return {(r, c) for r in range(box.top, box.bottom) for c in range(box.left, box.right)}


def test_cells_of_a_grid_are_numbered_row_by_row():
    assert geometry.grid_cell((1, 10, 9), 0, 2, 3) == Box(0, 0, 5, 3)
    assert geometry.grid_cell((1, 10, 9), 2, 2, 3) == Box(0, 6, 5, 9)
    assert geometry.grid_cell((1, 10, 9), 4, 2, 3) == Box(5, 3, 10, 6)


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_every_pixel_belongs_to_one_cell_and_cells_differ_by_at_most_one_pixel(height, width, data):
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    cells = [geometry.grid_cell((3, height, width), unit, rows, columns) for unit in range(rows * columns)]
    covered = torch.zeros(height, width)
    for cell in cells:
        cell.crop(covered).add_(1)
    assert torch.equal(covered, torch.ones(height, width))
    assert max(c.height for c in cells) - min(c.height for c in cells) <= 1
    assert max(c.width for c in cells) - min(c.width for c in cells) <= 1


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9), st.lists(boxes, max_size=3))
@example(2, 2, 3, 3, [Box(1, 1, 2, 2)])  # all places meet the middle
def test_places_are_all_those_inside_the_image_that_overlap_nothing_taken(height, width, rows, columns, taken):
    corners = [(top, left) for top in range(rows - height + 1) for left in range(columns - width + 1)]
    used = set().union(*map(pixels, taken))
    legal = [(t, left) for t, left in corners if not pixels(Box(t, left, t + height, left + width)) & used]
    assert [tuple(place) for place in geometry.places(height, width, (3, rows, columns), taken).tolist()] == legal


@pytest.mark.parametrize(
    ("shape", "resize", "resized", "window"),
    [
        ((1, 50, 50), Resize(), (50, 150), Box(0, 50, 50, 100)),
        ((1, 100, 300), Resize(), (100, 300), Box(0, 0, 100, 300)),
        ((1, 50, 50), Resize(size=60), (60, 180), Box(5, 65, 55, 115)),
        ((1, 50, 50), Resize("stretch", 60), (60, 60), Box(5, 5, 55, 55)),
        ((1, 50, 40), Resize("stretch"), (50, 40), Box(0, 0, 50, 40)),
    ],
)
def test_a_fit_covers_the_shape_and_takes_the_centre_or_stretches(shape, resize, resized, window):
    assert geometry.central_fit(100, 300, shape, resize) == geometry.Fit((100, 300), resized, window)


def test_a_mask_is_cropped_with_its_image_also_where_it_has_the_shape_already():
    mask = np.zeros((50, 50), bool)
    mask[:4] = True
    assert not geometry.fit_mask(mask, (50, 50), (1, 50, 50), Resize(size=60)).any()
    assert geometry.fit_mask(mask, (100, 300), (1, 50, 50), Resize(size=60)) is mask  # drawn on what was cropped
    fits = [geometry.mask_fits((50, width), (100, 300), (1, 50, 50)) for width in (148, 149, 151, 152)]
    assert fits == [False, True, True, False]  # 150, to a pixel


def test_a_box_follows_its_image_and_is_empty_where_it_is_cut_away():
    fit = geometry.central_fit(100, 300, (1, 50, 50))
    assert geometry.fit_box(Box(20, 120, 60, 160), fit) == Box(10, 10, 30, 30)
    assert geometry.fit_box(Box(20, 80, 60, 160), fit) == Box(10, 0, 30, 30)
    assert geometry.fit_box(Box(0, 0, 100, 90), fit).area == 0


def test_effects_are_painted_on_their_boxes_and_averaged_where_they_overlap():
    painted = geometry.paint(2, 4, [Box(0, 0, 2, 2), Box(0, 1, 1, 3)], [1.0, -0.5])
    assert np.array_equal(painted, [[1, 0.25, -0.5, 0], [1, 1, 0, 0]])


L_SHAPE = np.array([[1, 0], [1, 0], [1, 1]], dtype=bool)


def test_a_masks_values_are_painted_on_its_pixels_alone():
    boxes = [Box(1, 0, 4, 2), None, Box(3, 1, 4, 4)]
    found = geometry.paint(4, 4, boxes, [2.0, 9.0, 4.0], [L_SHAPE, None, None])
    expected = [[0, 0, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0], [2, 3, 4, 4]]
    np.testing.assert_array_equal(found, expected)


def test_the_mask_of_fewest_pixels_is_on_top_of_a_stack():
    boxes = [Box(0, 0, 3, 2), Box(0, 0, 3, 2)]
    found = geometry.stack(3, 3, boxes, [1.0, 2.0], -1, [None, L_SHAPE])
    np.testing.assert_array_equal(found, [[2, 1, -1], [2, 1, -1], [2, 2, -1]])
    np.testing.assert_array_equal(geometry.stack(3, 3, boxes[::-1], [2.0, 1.0], -1, [L_SHAPE, None]), found)


masks = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**25 - 1)).map(
    lambda t: np.array([t[2] >> bit & 1 for bit in range(t[0] * t[1])], dtype=bool).reshape(t[0], t[1])
)


@given(masks, st.integers(1, 9), st.integers(1, 9), st.data())
def test_places_of_a_mask_are_all_those_where_it_meets_no_taken_pixel(mask, rows, columns, data):
    bits = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    taken = np.array(bits).reshape(rows, columns)
    height, width = mask.shape
    corners = [(top, left) for top in range(rows - height + 1) for left in range(columns - width + 1)]
    legal = [(t, left) for t, left in corners if not (taken[t : t + height, left : left + width] & mask).any()]
    assert [tuple(place) for place in geometry.mask_places(mask, taken).tolist()] == legal


def test_a_shape_has_up_to_eight_orientations_the_first_of_which_is_its_own():
    skew = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0]], dtype=bool)
    skew[2, 1] = True
    skew[0, 2] = True
    found = geometry.orientations(skew)
    assert np.array_equal(found[0], skew)
    assert len(geometry.orientations(L_SHAPE)) == 8
    assert len(geometry.orientations(np.ones((2, 3), dtype=bool))) == 2
    assert len(geometry.orientations(np.ones((2, 2), dtype=bool))) == 1


@given(masks)
def test_the_box_around_a_mask_holds_all_of_it_and_no_empty_border(mask):
    box = geometry.bounding_box(mask)
    inside = mask[box.slices]
    assert inside.sum() == mask.sum()
    assert (box == Box(0, 0, 0, 0)) == (not mask.any())
    for side in (inside[:1], inside[-1:], inside[:, :1], inside[:, -1:]):
        assert side.any() or not mask.any()


def test_a_mask_is_moved_around_the_edges_to_where_it_overlaps_itself_least():
    half = np.zeros((4, 6), dtype=bool)
    half[:, :3] = True
    assert geometry.least_overlapping_shifts(half).tolist() == [[row, 3] for row in range(4)]
    for rows, columns in geometry.least_overlapping_shifts(~half[:, 2:], slack=0):
        assert np.roll(~half[:, 2:], (rows, columns), (0, 1)).sum() == 12


@pytest.mark.parametrize("size", [(24, 36), (8, 8), (12, 18), (31, 47), (5, 9)])
def test_a_mask_is_fitted_as_torch_resizes_by_the_nearest_pixel(size):
    mask = np.random.default_rng(0).random(size) > 0.5
    shape = (1, 7, 10)
    fit = geometry.central_fit(*size, shape)
    pixels = torch.from_numpy(mask[None, None].astype(np.float32))
    expected = fit.window.crop(F.interpolate(pixels, size=fit.resized, mode="nearest-exact"))[0, 0].numpy() > 0.5
    assert np.array_equal(geometry.fit_mask(mask, mask.shape, shape), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 60), st.integers(4, 60), st.integers(3, 40), st.integers(3, 40), st.data())
def test_the_box_around_a_mask_is_within_a_pixel_of_it_after_the_same_fit_and_as_torchvision_has_it(
    height, width, rows, columns, data
):
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(top, left, data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width)))
    mask, shape = np.zeros((height, width), bool), (1, rows, columns)
    mask[box.slices] = True
    fit = geometry.central_fit(height, width, shape)
    fitted, around = geometry.fit_box(box, fit), geometry.bounding_box(geometry.fit_mask(mask, mask.shape, shape))
    if around.area:  # else nothing, or less than a pixel, is left of it
        assert all(abs(one - other) <= 1 for one, other in zip(fitted, around, strict=True))
    corners = torch.tensor([[box.left, box.top, box.right, box.bottom]]).float()
    boxes = BoundingBoxes(corners, format="XYXY", canvas_size=(height, width))
    boxes = v2.functional.resize(boxes, list(fit.resized))
    moved = v2.functional.crop(boxes, fit.window.top, fit.window.left, rows, columns)[0].tolist()
    np.testing.assert_allclose([fitted.left, fitted.top, fitted.right, fitted.bottom], moved, atol=0.51)
