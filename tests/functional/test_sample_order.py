"""The first N samples of a split stand for all of it, whatever the labels and groups."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dovision.functional.sample_order import RARE_SHARE, sample_order, strata


@st.composite
def labelled(draw, most: int = 300):
    """Class numbers and groups of some images: from one class to many, from balanced to a long tail."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes, images = draw(st.integers(1, 12)), draw(st.integers(1, most))
    share = random.dirichlet(np.full(classes, draw(st.sampled_from([0.1, 1.0, 100.0]))))
    return random.choice(classes, images, p=share), random.integers(0, draw(st.integers(1, images)), images)


def in_step(parts: np.ndarray) -> bool:
    """Whether, of the members of each part, the first n have one and the same share, to within one, for every n."""
    _, number = np.unique(parts, return_inverse=True)
    counted = np.cumsum(number[:, None] == np.arange(number.max() + 1), axis=0)
    low, high = ((counted + one) / counted[-1] for one in (-1, 1))
    return bool((low.max(1) < high.min(1)).all())


@given(labelled())
def test_every_row_has_one_place_and_each_class_its_share_of_the_first_n_to_within_one(data):
    order = sample_order(*data)
    assert sorted(order) == list(range(len(data[0])))
    label = data[0][order]
    size = np.bincount(label)
    counted = np.cumsum(label[:, None] == np.arange(len(size)), axis=0)
    expected = np.arange(1, len(label) + 1)[:, None] * size / len(label)
    frequent = size >= RARE_SHARE * len(label)
    assert (np.abs(counted - expected)[:, frequent] < 1).all()


@given(labelled())
def test_the_images_of_a_class_are_spread_over_its_groups(data):
    order = sample_order(*data)
    label, group = (each[order] for each in data)
    assert all(in_step(group[label == number]) for number in set(label))


def test_rare_classes_keep_step_with_each_other_and_together_with_the_rest():
    label = np.repeat(np.arange(31), [1, 2, 3, 5, 9] * 6 + [10_000])
    rare = label[sample_order(label, np.arange(len(label)))]
    assert in_step(rare[rare < 30])
    counted = np.cumsum(rare < 30)
    assert (np.abs(counted - np.arange(1, len(rare) + 1) * counted[-1] / len(rare)) < 1).all()


def furthest(size: np.ndarray) -> np.ndarray:
    """How far the number of each class gets from its share of the first n samples, over all n."""
    label = np.repeat(np.arange(len(size)), size)
    label = label[sample_order(label, np.arange(len(label)))]
    found = []
    for places in np.split(np.argsort(label, kind="stable"), np.cumsum(size)[:-1]):
        counted = np.arange(len(places)) + np.array([[0], [1]])  # before each of its samples, and after it
        found.append(np.abs(counted - np.stack([places, places + 1]) * len(places) / len(label)).max())
    return np.array(found)


@st.composite
def long_tails(draw) -> np.ndarray:
    """Sizes of classes: some rare ones, of one size, of any, or one large among tiny, and one or more frequent ones."""
    rare = draw(
        st.one_of(
            st.lists(st.integers(1, 60), min_size=1, max_size=150),
            st.builds(lambda size, count: [size] * count, st.integers(1, 20), st.integers(1, 200)),
            st.builds(lambda size, count: [size] + [1] * count, st.integers(2, 60), st.integers(1, 300)),
        )
    )
    frequent = draw(st.integers(1, 3))
    return np.array(rare + [-(-max(sum(rare), 100 * max(rare)) // frequent)] * frequent)


@given(long_tails())
@settings(max_examples=60, deadline=None)
def test_each_class_of_a_long_tail_is_within_its_bound_of_its_share(size):
    rare = size < RARE_SHARE * size.sum()
    bound = np.where(rare, 1 + size * (rare.sum() + 1) / max(size[rare].sum(), 1), 1)
    assert (furthest(size) < bound).all()


def test_rare_classes_of_real_long_tails_are_within_two_of_their_shares():
    """Of sizes as in ImageNet-LT and iNaturalist, where the bound, which holds for the worst starts, is far larger."""
    images_lt = np.maximum(5, 1280 * np.exp(-np.arange(1000) / 170)).astype(int)
    naturalist = np.maximum(1, 1000 / np.arange(1, 5001) ** 0.7).astype(int)
    assert furthest(images_lt[::10]).max() < 2
    assert furthest(naturalist[::5]).max() < 2


@given(labelled())
@settings(max_examples=20)
def test_the_order_is_the_same_every_time_and_global_generators_do_not_move_it(data):
    np.random.seed(1)  # noqa: NPY002
    once = sample_order(*data)
    np.random.seed(2)  # noqa: NPY002
    assert np.array_equal(once, sample_order(*data))


def test_images_of_several_labels_are_stratified_by_the_rarest():
    nan = np.nan
    label = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, nan, nan], [1, 0, 1]])
    assert strata(label).tolist() == [2, 0, 1, 3, 0, 2]  # counts 5, 1, 2; 3 is an image without a known label
    assert sorted(sample_order(label, np.arange(6))) == list(range(6))
    assert strata(np.array([0, -1, 0])).tolist() == [0, 1, 0]
    assert len(sample_order(np.zeros(0, int), np.zeros(0, int))) == 0
