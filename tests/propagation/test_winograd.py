"""Convolutions by fewer products: as exact as torch's, and the same bits wherever a result lies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from dovision.propagation.kernels.rows import LEAST_ROWS, enough_rows
from dovision.propagation.kernels.winograd import TILE_SIDE, Winograd


@pytest.fixture(scope="module")
def filters():
    random = torch.Generator().manual_seed(0)
    return torch.randn(128, 160, 3, 3, generator=random) / 38, torch.randn(128, generator=random)


def images(count, height, width):
    return torch.randn(count, 160, height, width, generator=torch.Generator().manual_seed(1)).relu()


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (5, 14)])
def test_rounding_is_near_that_of_a_convolution(size, padding, filters):
    image = images(2, *size)
    exact = F.conv2d(image.double(), filters[0].double(), filters[1].double(), padding=padding)
    error = (Winograd(*filters, padding)(image) - exact).abs()
    assert error.max() < 8e-6 * exact.std()
    assert error.square().mean().sqrt() < 1e-6 * exact.std()


@pytest.mark.parametrize("count", [1, 3, 15, 16, 17, 31])
def test_other_images_change_no_bit(count, filters):
    kernel, image = Winograd(*filters, (1, 1)), images(32, 9, 9)
    assert torch.equal(kernel(image[:count]), kernel(image)[:count])


def test_tiles_of_a_window_have_the_bits_of_the_map(filters):
    kernel, image = Winograd(*filters, (1, 1)), images(3, 15, 14)
    whole = kernel(image)[..., TILE_SIDE : 3 * TILE_SIDE, TILE_SIDE : 2 * TILE_SIDE]
    window = image[..., TILE_SIDE - 1 : 3 * TILE_SIDE + 1, TILE_SIDE - 1 : 2 * TILE_SIDE + 1]
    assert torch.equal(kernel.of_tiles(window.movedim(1, -1)).movedim(-1, 1), whole)


@pytest.mark.parametrize("channels", [(128, 128), (160, 128), (256, 512)])
def test_a_product_of_few_tiles_has_the_bits_of_one_of_many(channels):
    random = torch.Generator().manual_seed(2)
    kernel = Winograd(torch.randn(channels[1], channels[0], 3, 3, generator=random), None, (0, 0))
    read = torch.randn(40, 6, 6, channels[0], generator=random)  # a tile an image
    whole = kernel.of_tiles(read)
    for count in (1, 2, 3, 6, 7, 16, 39):
        assert torch.equal(kernel.of_tiles(read[:count]), whole[:count]), count


def network_of():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.Conv2d(128, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU(inplace=True)),
        *(nn.Conv2d(128, 144, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(144, 128, 3, padding=1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 5)),
    )


@pytest.fixture(scope="module")
def convolving(classifier_of, batch_of, with_statistics):
    return classifier_of(with_statistics(network_of()).eval()), batch_of(2, 3, 56, 56)


def test_edits_are_as_in_whole_passes(convolving, expected_outcome, assert_equal):
    classifier, batch = convolving
    propagation = Propagation(classifier, PixelGrid(4, 4))
    assert_equal(propagation(batch), expected_outcome(classifier, PixelGrid(4, 4), batch))
    assert isinstance(propagation.engine, Incremental)
    assert sum(isinstance(step.function, Winograd) for step in propagation.engine.graph.steps) == 3


def test_the_chunk_changes_no_bit(convolving):
    classifier, batch = convolving
    expected = Propagation(classifier, PixelGrid(5, 5))(batch)
    for chunk in (3, 8, 17):
        assert torch.equal(Propagation(classifier, PixelGrid(5, 5), chunk)(batch).treated, expected.treated)


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_rows_are_added_where_they_are_too_few_and_else_nothing_is_copied(rows):
    value = torch.rand(3, rows, 4)
    enough = enough_rows(value)
    assert torch.equal(enough[:, :rows], value)
    assert enough.shape == (3, max(rows, LEAST_ROWS), 4)
    assert (enough is value) == (rows >= LEAST_ROWS)
