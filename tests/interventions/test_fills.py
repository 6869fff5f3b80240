from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from dovision.contracts import Box
from dovision.interventions.fills import Blur, Constant, Mean, Noise

REGION = Box(2, 3, 7, 12)
FILLS = [Constant(0.25), Mean(), Blur(1.5), Noise(seed=0)]


@pytest.mark.parametrize("fill", FILLS, ids=lambda fill: type(fill).__name__)
def test_every_channel_of_the_region_is_filled(fill, context):
    new = fill(context.batch.image, REGION, context)
    assert new.shape == (4, 3, REGION.height, REGION.width)
    assert (new != REGION.crop(context.batch.image)).flatten(2).any(2).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_is_in_pixel_units_whatever_the_normalisation(value, context):
    assert (Constant(value)(context.batch.image, REGION, context) == value).all()


def test_the_mean_is_the_images_own_channel_by_channel(context):
    image = torch.zeros(1, 2, 4, 4)
    image[0, 0, :2], image[0, 1, 0, 0] = 1, 0.8
    new = Mean()(image, Box(0, 0, 1, 3), context)
    torch.testing.assert_close(new, torch.tensor([0.5, 0.05]).view(1, 2, 1, 1).expand(1, 2, 1, 3))


@settings(max_examples=30, deadline=None)
@given(
    sigma=st.floats(0.2, 12),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_blur_is_a_crop_of_the_whole_image_blurred_by_scipy(sigma, height, width, corners):
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    top, bottom = sorted(int(share * height) for share in corners[:2])
    left, right = sorted(int(share * width) for share in corners[2:])
    region = Box(top, left, bottom, right)
    whole = ndimage.gaussian_filter(image.numpy(), sigma, mode="nearest", axes=(2, 3))
    np.testing.assert_allclose(Blur(sigma)(image, region, None), region.crop(torch.tensor(whole)), atol=1e-12)


def test_blur_leaves_a_flat_image_alone_up_to_the_edges(context):
    for flat in (0.0, 0.3, 1.0):
        new = Blur(5.0)(torch.full((1, 1, 9, 9), flat), Box(0, 0, 9, 9), context)
        torch.testing.assert_close(new, torch.full((1, 1, 9, 9), flat))
        assert new.max() <= 1


def test_noise_is_uniform_and_new_for_each_channel(context):
    noise = Noise(seed=0)(context.batch.image, Box(0, 0, 14, 17), context)
    assert stats.kstest(noise.flatten().numpy(), stats.uniform.cdf).pvalue > 0.01
    assert not torch.equal(noise[:, 0], noise[:, 1])


def test_noise_depends_on_seed_sample_and_region_alone(context):
    image = context.batch.image
    first = Noise(seed=0)(image, REGION, context)
    backwards = Noise(seed=0)(image.flip(0), REGION, context.rows([3, 2, 1, 0]))
    assert torch.equal(backwards.flip(0), first)
    assert not torch.equal(Noise(seed=1)(image, REGION, context), first)
    elsewhere = Box(3, 3, 8, 12)
    assert not torch.equal(Noise(seed=0)(image, elsewhere, context), first)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(255), r"value must be a number in \[0, 1\], got 255\. A fill is in pixel units"),
        (lambda: Constant("black"), r"value must be a number in \[0, 1\], got 'black'"),
        (lambda: Blur(0), "sigma must be above 0, got 0"),
        (lambda: Blur("wide"), "sigma must be a number .* got 'wide'"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
