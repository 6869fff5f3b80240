import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from torchmetrics.classification import BinaryJaccardIndex

from dovision.functional import agreement
from dovision.functional.geometry import clip
from dovision.types import Box

FEW = settings(max_examples=50, deadline=None)
MAPS = arrays.arrays(np.float64, (4, 5), elements=st.integers(-9, 9).map(lambda x: x / 4))
CORNER = np.array([[1.0, 0.5], [0.0, 0.0]])  # a box over the first cell and half of the second


@st.composite
def images_with_boxes(draw):
    height, width = draw(st.integers(4, 30)), draw(st.integers(5, 30))
    boxes = []
    for _ in range(draw(st.integers(0, 3))):
        top, left = draw(st.integers(-3, height - 1)), draw(st.integers(-3, width - 1))
        boxes.append(Box(top, left, top + draw(st.integers(1, 12)), left + draw(st.integers(1, 12))))
    return height, width, boxes


def test_cells_are_area_means():
    maps = torch.arange(12.0).reshape(1, 3, 4)
    cells = agreement.to_cells(maps, 1, 2)
    assert cells.tolist() == [[[(0 + 1 + 4 + 5 + 8 + 9) / 6, (2 + 3 + 6 + 7 + 10 + 11) / 6]]]


def test_a_grid_finer_than_the_map_is_refused():
    with pytest.raises(ValueError, match=r"at most 4 rows and 4 columns .* got 5 x 2"):
        agreement.to_cells(torch.zeros(1, 4, 4), 5, 2)
    with pytest.raises(ValueError, match=r"at most 4 rows"):
        agreement.coverage([], 4, 4, 5, 2)


@given(images_with_boxes())
@FEW
def test_coverage_is_the_cell_mean_of_the_painted_union(drawn):
    height, width, boxes = drawn
    painted = torch.zeros(1, height, width, dtype=torch.float64)
    for box in boxes:
        painted[0, max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)] = 1
    expected = agreement.to_cells(painted, 4, 5)[0].numpy()
    np.testing.assert_allclose(agreement.coverage(boxes, height, width, 4, 5), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("cells", "state"), [([0.0, 0.1], "ok"), ([0.0, 0.0], "zero"), ([-1.0, 0.0], "zero"), ([1.0, np.nan], "not finite")]
)
def test_a_map_that_cannot_be_judged_is_flagged(cells, state):
    assert agreement.state(np.array([cells])) == state


@pytest.mark.parametrize(("margin", "hit"), [(0, 0), (1, 0), (2, 1)])
def test_pointing_counts_a_miss_within_the_margin(margin, hit):
    cells = np.array([[0.0, 0.0], [0.0, 1.0]])  # centre of the highest: (6, 6) of 8 x 8
    assert agreement.pointing(cells, [Box(0, 0, 4, 4), Box(5, 2, 7, 4)], 8, 8, margin) == hit


@given(images_with_boxes(), MAPS, st.integers(0, 4))
@FEW
def test_a_mask_of_boxes_gives_the_coverage_and_the_pointing_of_these_boxes(drawn, cells, margin):
    height, width, boxes = drawn
    boxes = [own for box in boxes if (own := clip(box, height, width)).height and own.width]
    mask = np.zeros((height, width), bool)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = True
    expected = agreement.coverage(boxes, height, width, 4, 5)
    np.testing.assert_array_equal(agreement.mask_coverage(mask, 4, 5), expected)
    found = agreement.mask_pointing(cells, mask, margin)
    np.testing.assert_equal(found, agreement.pointing(cells, boxes, height, width, margin))


@given(arrays.arrays(np.bool_, (8, 10)), st.integers(0, 99))
@FEW
def test_iou_with_a_mask_is_torchmetrics_on_cells_of_one_pixel(mask, seed):
    cells = np.random.default_rng(seed).permutation(80).reshape(8, 10).astype(float)  # no ties
    chosen = cells >= 80 - mask.sum()
    expected = BinaryJaccardIndex()(torch.from_numpy(chosen), torch.from_numpy(mask)).item() if mask.any() else np.nan
    np.testing.assert_allclose(agreement.iou(cells, agreement.mask_coverage(mask, 8, 10)), expected, rtol=1e-6)


def test_energy_is_the_positive_share_inside_and_density_the_mean():
    cells = np.array([[3.0, 2.0], [-7.0, 4.0]])
    assert agreement.energy(cells, CORNER) == pytest.approx((3 + 1) / 9)
    assert np.isnan(agreement.energy(-np.ones((2, 2)), CORNER))
    assert np.isnan(agreement.energy(cells, np.zeros_like(CORNER)))  # of no boxes, as iou and pointing
    assert agreement.density(np.array([[3.0, 6.0], [9.0, 9.0]]), CORNER) == pytest.approx(6 / 1.5)
    assert np.isnan(agreement.density(cells, np.zeros_like(CORNER)))


def test_cells_that_tie_have_the_expected_intersection_over_all_their_orders():
    cells = np.array([0.5, 0.5, 0.5, 0.5, 0.9, 0.1])
    covered = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    random = np.random.default_rng(0)
    orders = [np.lexsort((random.random(6), -cells))[:3] for _ in range(4000)]
    shared = np.mean([covered[chosen].sum() for chosen in orders])
    assert agreement.iou(cells, covered) == pytest.approx(shared / (6 - shared), abs=0.01)


def test_the_most_relevant_cells_go_first():
    removed = agreement.removal(np.array([[0.1, 0.4], [0.3, 0.2]]), 4)
    assert removed[1].tolist() == [[False, True], [False, False]]
    assert removed[2].tolist() == [[False, True], [True, False]]
    assert removed[3].tolist() == [[False, True], [True, True]]


@given(MAPS, st.integers(1, 30))
@FEW
def test_cells_go_evenly_from_none_to_all_and_stay_gone(cells, steps):
    removed = agreement.removal(cells, steps)
    counts = removed.sum((1, 2))
    assert counts.tolist() == np.rint(np.linspace(0, 20, steps + 1)).tolist()
    assert (removed[1:] >= removed[:-1]).all()
    for gone in removed[1:-1]:
        if gone.any() and not gone.all():
            assert cells[gone].min() >= cells[~gone].max()


def test_a_constant_map_goes_in_a_random_order_that_is_always_the_same():
    first, again = (agreement.removal(np.zeros((8, 8)), 2)[1] for _ in range(2))
    assert np.array_equal(first, again)
    assert 8 < first[:4].sum() < 24  # of 32: neither the top first nor the bottom
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, got 0"):
        agreement.removal(np.zeros((2, 2)), 0)


def test_removed_cells_are_painted_over_in_pixels():
    image, filled = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    removed = np.array([[[False, False]], [[True, False]]])
    shown = agreement.painted(image, filled, removed)
    with pytest.raises(ValueError, match=r"image .*same shape"):
        agreement.painted(image, filled[:1], removed)
    assert torch.equal(shown[::2], torch.stack([image, filled]))
    assert shown[1::2, 0].tolist() == [[[0, 0, 1, 1]] * 3, [[1, 1, 0, 0]] * 3]


def test_the_area_is_that_of_trapezoids():
    assert agreement.area(np.array([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert agreement.area(np.array([1.0, 0.0, 0.0])) == pytest.approx(0.25)
    assert agreement.area(np.ones(9)) == pytest.approx(1)


@given(MAPS, MAPS)
@settings(max_examples=20, deadline=None)
def test_rank_correlation_is_scipys(a, b):
    found = agreement.spearman(a, b)
    for row in range(len(a)):
        if np.ptp(a[row]) and np.ptp(b[row]):
            assert found[row] == pytest.approx(stats.spearmanr(a[row], b[row]).statistic, abs=1e-12)
        else:
            assert np.isnan(found[row])


def test_rank_correlation_needs_three_finite_values_that_differ():
    assert np.isnan(agreement.spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert np.isnan(agreement.spearman(np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.0, 3.0])))
    assert np.isnan(agreement.spearman(np.ones(4), np.arange(4.0)))
    assert agreement.spearman(np.arange(3.0), -np.arange(3.0)) == -1


def test_numbers_of_a_pooled_correlation_have_it_as_mean_and_the_error_of_a_bootstrap_over_groups():
    random = np.random.default_rng(1)
    of_group = np.repeat(random.normal(size=100), 5)
    a = of_group + random.normal(size=500)
    b = of_group + random.normal(size=500)
    groups = np.repeat(np.arange(100), 5)
    numbers = agreement.pooled_spearman(a, b, groups)
    assert len(numbers) == 100
    assert numbers.mean() == pytest.approx(stats.spearmanr(a, b).statistic)
    drawn = []
    for _ in range(1000):
        rows = (5 * random.integers(0, 100, 100)[:, np.newaxis] + np.arange(5)).ravel()
        drawn.append(stats.spearmanr(a[rows], b[rows]).statistic)
    assert numbers.std(ddof=1) / np.sqrt(100) == pytest.approx(np.std(drawn), rel=0.1)


def test_a_partial_rank_correlation_is_that_of_residuals_of_ranks():
    random = np.random.default_rng(3)
    area = random.normal(size=40)
    a, b = area + random.normal(size=40), area**3 + random.normal(size=40)
    ranks = [stats.rankdata(each) for each in (a, b, area)]
    lines = [np.polyval(np.polyfit(ranks[2], each, 1), ranks[2]) for each in ranks[:2]]
    expected = np.corrcoef(ranks[0] - lines[0], ranks[1] - lines[1])[0, 1]
    assert agreement.partial_spearman(a, b, area) == pytest.approx(expected)
    pooled = agreement.pooled_spearman(a, b, np.repeat(np.arange(10), 4), area)
    assert pooled.mean() == pytest.approx(expected)


def test_a_pooled_correlation_with_a_constant_is_not_known():
    assert np.isnan(agreement.partial_spearman(np.ones(6), np.arange(6.0), np.arange(6.0) % 4))
    assert np.isnan(agreement.pooled_spearman(np.ones(6), np.arange(6.0), np.arange(6))).all()
