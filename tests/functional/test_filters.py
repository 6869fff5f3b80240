"""Filters of images, against SciPy and OpenCV, and as properties."""

from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from dovision.functional.filters import (
    gaussian_filter,
    jpeg,
    median_filter,
    non_local_means,
    reduce_depth,
    resample,
    rotate,
    shift,
)

FILTERS = {
    "one bit": partial(reduce_depth, bits=1),
    "five bits": partial(reduce_depth, bits=5),
    "median": partial(median_filter, window=2),
    "gaussian": partial(gaussian_filter, sigma=0.8),
    "non-local means": partial(non_local_means, patch_size=3, patch_distance=2, h=0.1),
    "jpeg": partial(jpeg, quality=75),
    "shift": partial(shift, rows=1, columns=-1),
    "rotation": partial(rotate, degrees=8.0),
    "resampling": partial(resample, factor=0.5),
}
EACH = pytest.mark.parametrize("filtered", FILTERS.values(), ids=FILTERS)
SIDES = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


def images(count: int, *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
def test_the_median_filter_is_that_of_scipy(window):
    image = images(2, 3, 7, 6)
    expected = ndimage.median_filter(image.numpy(), size=(1, 1, window, window), mode="reflect")
    np.testing.assert_array_equal(median_filter(image, window).numpy(), expected)


def test_one_bit_is_black_or_white_and_the_gradient_passes():
    image = torch.tensor([0.0, 0.3, 0.49, 0.51, 1.0], requires_grad=True)
    squeezed = reduce_depth(image, 1)
    torch.testing.assert_close(squeezed, torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0]), rtol=0, atol=0)
    squeezed.sum().backward()
    bell = [0.2 + 0.8 / 0.08 / 4 / np.cosh((value - 0.5) / 0.16) ** 2 for value in (0, 0.3, 0.49, 0.51, 1)]  # logistic
    assert image.grad.tolist() == pytest.approx(bell, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(sigma=st.floats(0.2, 6), shape=SIDES)
def test_the_gaussian_filter_is_that_of_scipy(sigma, shape):
    image = images(2, *shape, dtype=torch.float64)
    expected = ndimage.gaussian_filter(image.numpy(), sigma, mode="nearest", axes=(2, 3))
    np.testing.assert_allclose(gaussian_filter(image, sigma).numpy(), expected, atol=1e-12)


def picture(*shape: int) -> npt.NDArray[np.uint8]:
    """A smooth picture with noise of 4 levels, as OpenCV has it: rows, columns, channels of 8 bits."""
    rows, columns = np.indices(shape[:2]) / 10
    smooth = 0.5 + 0.25 * np.sin(rows[..., None] + np.arange(shape[2]) / 4) * np.cos(columns[..., None])
    return (255 * smooth + np.random.default_rng(0).choice([-4, 4], shape)).round().astype(np.uint8)


def as_image(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).double() / 255


def as_levels(image: torch.Tensor) -> npt.NDArray[np.float64]:
    return (image[0].permute(1, 2, 0) * 255).numpy()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("patch", "distance", "h"), [(1, 1, 10), (3, 5, 4), (5, 2, 20), (7, 10, 10)])
def test_non_local_means_are_those_of_opencv_to_a_level(channels, patch, distance, h):
    pixels = picture(20, 27, channels)
    expected = cv2.fastNlMeansDenoising(pixels, None, h, patch, 2 * distance + 1).reshape(pixels.shape)
    assert np.abs(expected.astype(int) - pixels).max() >= 4
    smooth = as_levels(non_local_means(as_image(pixels), patch, distance, h / 255))
    assert np.abs(smooth - expected).max() <= 1


def test_colours_go_through_the_lab_of_opencv_in_8_bits():
    pixels = np.random.default_rng(0).integers(0, [[[256]], [[8]]], (2, 500, 3)).astype(np.float32)  # also dark ones
    lab = (cv2.cvtColor(pixels / 255, cv2.COLOR_LRGB2Lab) * [255 / 100, 1, 1]).round() * [100 / 255, 1, 1]
    expected = cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_Lab2LRGB).clip(0, 1) * 255
    found = as_levels(non_local_means(as_image(pixels), 1, 1, 1e-6))  # no pixel is like another
    assert (np.abs(found - expected) < 0.05).mean((1, 2)).min() > 0.99


def test_colours_are_smoothed_as_opencv_does_but_for_its_rounding():
    """OpenCV turns colours to Lab and back in integers, and rounds down: half a level on average, more in the dark."""
    pixels = picture(40, 48, 3)
    expected = cv2.fastNlMeansDenoisingColored(pixels[..., ::-1].copy(), None, 4, 4, 3, 11)[..., ::-1].astype(int)
    difference = np.abs(as_levels(non_local_means(as_image(pixels), 3, 5, 4 / 255)) - expected)
    assert difference.mean() < 0.8
    assert (difference <= 1).mean() > 0.85
    assert np.abs(expected - pixels).mean() > 2


@settings(max_examples=40, deadline=None)
@given(shape=st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)), distance=st.integers(1, 4))
def test_non_local_means_are_the_weighted_sum_written_out(shape, distance):
    image, h = images(1, *shape, dtype=torch.float64), 0.2
    height, width = shape[1:]
    padded = np.pad(image[0].numpy(), ((0, 0), *[(distance + 1, distance + 1)] * 2), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    expected = np.zeros(shape)
    for r, c in np.ndindex(height, width):
        near = [
            (y, x)
            for y, x in np.ndindex(*windows.shape[1:3])
            if max(abs(y - r - distance), abs(x - c - distance)) <= distance
        ]
        squares = [((windows[:, y, x] - windows[:, r + distance, c + distance]) ** 2).mean() for y, x in near]
        weights = np.exp(-np.array(squares) / h**2)
        weights[weights < 0.001] = 0
        expected[:, r, c] = np.average([padded[:, y + 1, x + 1] for y, x in near], axis=0, weights=weights)
    np.testing.assert_allclose(non_local_means(image, 3, distance, h)[0].numpy(), expected, atol=1e-12)


def test_the_gradient_passes_through_the_rounding_of_lab():
    image = images(1, 3, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(non_local_means(image, 3, 2, 0.1).sum(), image)
    assert gradient.isfinite().all()
    assert gradient.sum().item() == pytest.approx(image.numel(), rel=0.1)  # a mean of pixels, in Lab


@pytest.mark.parametrize(
    "smooth", [partial(gaussian_filter, sigma=0.7), partial(non_local_means, patch_size=3, patch_distance=2, h=0.3)]
)
def test_gradients_of_smoothing_are_those_of_finite_differences(smooth):
    image = images(1, 2, 4, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(smooth, image)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow(channels, tmp_path):
    smooth = gaussian_filter(images(1, channels, 32, 40), 3.0)
    pixels = (smooth[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(pixels.squeeze()).save(tmp_path / "film.jpg", quality=60)
    expected = np.asarray(Image.open(tmp_path / "film.jpg")).reshape(32, 40, channels)
    found = (jpeg(smooth, 60)[0] * 255).permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 2  # pixel levels: two decoders round apart


@EACH
@settings(max_examples=15, deadline=None)
@given(shape=SIDES, seed=st.integers(0, 99))
def test_filters_keep_shape_and_range_and_see_each_image_alone(filtered, shape, seed):
    image = images(3, *((1, *shape[1:]) if shape[0] == 2 else shape), seed=seed)
    whole = filtered(image)
    assert whole.shape == image.shape
    assert whole.dtype == image.dtype
    assert whole.min() >= 0
    assert whole.max() <= 1
    torch.testing.assert_close(whole[1:2], filtered(image[1:2]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("step", [(0, 0), (1, 0), (-2, 3), (9, -9)])
def test_a_shift_is_that_of_scipy(step):
    image = images(2, 1, 6, 7)
    expected = ndimage.shift(image.numpy(), (0, 0, *step), order=0, mode="nearest")
    np.testing.assert_array_equal(shift(image, *step).numpy(), expected)


@pytest.mark.parametrize("degrees", [0.0, 8.0, -33.0, 90.0, 180.0])
def test_a_rotation_is_that_of_scipy(degrees):
    image = images(2, 1, 8, 11, dtype=torch.float64)
    expected = ndimage.rotate(image.numpy(), degrees, axes=(2, 3), reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(rotate(image, degrees).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("factor", [0.5, 0.3, 1.0, 2.0])
def test_resampling_is_that_of_pillow(factor):
    image = images(1, 1, 10, 14)
    size = (round(14 * factor), round(10 * factor))
    film = Image.fromarray(image[0, 0].numpy()).resize(size, Image.Resampling.BILINEAR)
    expected = np.asarray(film.resize((14, 10), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resample(image, factor)[0, 0].numpy(), expected, atol=1e-5)
