"""Pictures come back as they were."""

import numpy as np
import pytest
import torch

from dovision.results.pictures import image_path, kept_samples, load_image, save_image


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_comes_back_as_its_8_bit_rounding(tmp_path, channels):
    image = torch.linspace(0, 1, channels * 12).reshape(channels, 3, 4)
    path = image_path(tmp_path, 3, "eps=0.1")
    save_image(path, image)
    assert path == tmp_path / "maps" / "3_eps-0.1.png"
    assert image_path(tmp_path, 3, "eps=8/255") == tmp_path / "maps" / "3_eps-8-255.png"
    expected = (image * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(load_image(path), expected.squeeze(-1) if channels == 1 else expected)


def test_a_picture_of_two_channels_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(1, H, W\) or \(3, H, W\), got \(2, 3, 4\)"):
        save_image(tmp_path / "a.png", torch.zeros(2, 3, 4))


def test_only_samples_with_a_picture_in_each_arm_are_kept(tmp_path):
    for sample, arm in [(10, "clean"), (10, "eps=0.1"), (2, "clean"), (2, "eps=0.1"), (3, "clean")]:
        save_image(image_path(tmp_path, sample, arm), torch.zeros(1, 2, 2))
    assert kept_samples(tmp_path, ["clean", "eps=0.1"]) == [2, 10]
    assert kept_samples(tmp_path / "nowhere", ["clean"]) == []
