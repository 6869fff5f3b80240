"""Pictures come back as they were."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dovision.results.thumbnails import PictureChoice, save_image


def test_a_picture_of_two_channels_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(1, H, W\) or \(3, H, W\), got \(2, 3, 4\)"):
        save_image(tmp_path / "a.png", torch.zeros(2, 3, 4))


def choose(most, classes, right, order=None):
    """The samples chosen of some of these classes, each predicted rightly or not."""
    choice = PictureChoice(most, dict(enumerate(classes)))
    for sample in range(len(classes)) if order is None else order:
        choice.offer(sample, right[sample])
    return choice.samples


def test_each_class_is_shown_right_and_wrong_in_turn_and_the_first_turned_sample_beside_them():
    classes, right = [0, 0, 1, 1, 0, 0], [True, True, True, False, False, True]
    assert choose(6, classes, right) == [0, 3, 4, 2, 1, 5]
    assert choose(2, classes, right) == [0, 3]
    assert choose(0, classes, right) == []
    assert choose(3, [0] * 9, [True] * 9) == [0, 1, 2]
    choice = PictureChoice(1, {})
    left = [choice.offer(sample, True, turned=sample > 1) for sample in range(4)]
    assert choice.samples == [0, 2]
    assert left == [set(), {1}, set(), {3}]
    assert PictureChoice(0, {}).offer(0, True, turned=True) == {0}


@given(
    samples=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=60),
    most=st.integers(0, 12),
    cut=st.integers(0, 60),
)
def test_what_is_chosen_of_all_is_chosen_of_each_part(samples, most, cut):
    classes, right = zip(*samples, strict=True)
    chosen = choose(most, classes, right)
    cut = min(cut, len(samples))
    parts = [choose(most, classes, right, range(cut)), choose(most, classes, right, range(cut, len(samples)))]
    assert set(chosen) <= {sample for part in parts for sample in part}
    cells = Counter(samples)
    shown = Counter(samples[sample] for sample in chosen)
    fewest = min((shown[cell] for cell in cells if shown[cell] < cells[cell]), default=most)
    assert all(shown[cell] <= fewest + 1 for cell in cells)  # none has two more than one that has others left
