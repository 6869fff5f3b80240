"""Pictures come back as they were."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dovision.store.thumbnails import PictureChoice, load_thumbnail, samples_in_conditions, save_image, thumbnail_path


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_as_its_8_bit_rounding(tmp_path, channels):
    image = torch.linspace(0, 1, channels * 12).reshape(channels, 3, 4)
    path = thumbnail_path(tmp_path, 3, "eps=0.1")
    save_image(path, image)
    assert path == tmp_path / "maps" / "3_eps-0.1.png"
    assert thumbnail_path(tmp_path, 3, "eps=8/255") == tmp_path / "maps" / "3_eps-8-255.png"
    expected = (image * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(load_thumbnail(path), expected.squeeze(-1) if channels == 1 else expected)


def test_a_picture_of_two_channels_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(1, H, W\) or \(3, H, W\), got \(2, 3, 4\)"):
        save_image(tmp_path / "a.png", torch.zeros(2, 3, 4))


def choose(most, classes, right, order=None):
    """The samples chosen of some of these classes, each predicted rightly or not."""
    choice = PictureChoice(most, dict(enumerate(classes)))
    for sample in range(len(classes)) if order is None else order:
        choice.offer(sample, right[sample])
    return choice.samples


def test_each_class_is_shown_right_in_one_and_wrong_in_the_next_and_then_the_other_way_round():
    classes, right = [0, 0, 1, 1, 0, 0], [True, True, True, False, False, True]
    assert choose(6, classes, right) == [0, 3, 4, 2, 1, 5]
    assert choose(2, classes, right) == [0, 3]
    assert choose(0, classes, right) == []
    assert choose(3, [0] * 9, [True] * 9) == [0, 1, 2]


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


def test_only_samples_with_a_picture_in_each_condition_are_kept(tmp_path, write_run):
    write_run(tmp_path, images=20, maps=0, eps=(0.1,))
    for sample, condition in [(10, "clean"), (10, "eps=0.1"), (2, "clean"), (2, "eps=0.1"), (3, "clean")]:
        save_image(thumbnail_path(tmp_path, sample, condition), torch.zeros(1, 2, 2))
    assert samples_in_conditions(tmp_path, ["clean", "eps=0.1"]) == [10, 2]  # a zero, then a two
    assert samples_in_conditions(tmp_path / "nowhere", ["clean"]) == []
