import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse, stats

from dovision.interventions.fills import Blur, Constant, Inpaint, Mean, Noise
from dovision.types import Box

REGION = Box(2, 3, 7, 12)


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


def test_noise_is_uniform_and_new_for_each_channel(context):
    noise = Noise(seed=0)(context.batch.image, Box(0, 0, 14, 17), context)
    assert stats.kstest(noise.flatten().numpy(), stats.uniform.cdf).pvalue > 0.01
    assert not torch.equal(noise[:, 0], noise[:, 1])


@st.composite
def frames(draw):
    """An image's height and width, and a region inside it that is neither empty nor all of it."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(2, 9))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    region = Box(top, left, draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width)))
    return height, width, region if region.area < height * width else Box(0, 1, height, width)


def harmonic(image, region):
    """The region's pixels, each the mean of its neighbours: one sparse system of equations, solved directly."""
    height, width = image.shape
    inside = [(r, c) for r in range(region.top, region.bottom) for c in range(region.left, region.right)]
    equations, known = sparse.lil_matrix((len(inside), len(inside))), np.zeros(len(inside))
    for i, (r, c) in enumerate(inside):
        for neighbour in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            if 0 <= neighbour[0] < height and 0 <= neighbour[1] < width:
                equations[i, i] += 1
                if neighbour in inside:
                    equations[i, inside.index(neighbour)] -= 1
                else:
                    known[i] += image[neighbour]
    return sparse.linalg.splu(equations.tocsc()).solve(known).reshape(region.height, region.width)


@settings(max_examples=60, deadline=None)
@given(frame=frames(), seed=st.integers(0, 1000))
def test_inpainting_solves_laplaces_equation(frame, seed):
    height, width, region = frame
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    new = Inpaint()(image, region, None)
    for pixels, plane in zip(new.flatten(0, 1).numpy(), image.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_allclose(pixels, harmonic(plane, region), atol=1e-12)


def test_inpainting_goes_on_with_a_ramp():
    down, across = torch.arange(11.0).view(-1, 1) / 40, torch.arange(13.0) / 20
    for ramp, region in [
        (down + across, Box(2, 3, 9, 11)),
        (down.expand(11, 13), Box(3, 0, 7, 13)),
        (across.expand(11, 13), Box(0, 4, 11, 9)),
    ]:
        image = ramp.expand(2, 1, 11, 13)
        torch.testing.assert_close(Inpaint()(image, region, None), region.crop(image), atol=1e-6, rtol=0)
