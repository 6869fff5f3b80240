import captum.attr
import pytest
import torch

import dovision as dv
from dovision.interfaces import Context
from made_batches import batch_of


def condition(image: torch.Tensor) -> Context:
    return Context(batch_of(image), None)


def test_a_cell_is_painted_on_all_channels_and_black_by_default():
    white = torch.ones(2, 3, 4, 4)
    expected = white.clone()
    expected[:, :, 2:, :2] = 0
    assert torch.equal(dv.PixelGrid(2, 2).apply(white, 2, condition(white)), expected)
    grey = dv.PixelGrid(2, 2, fill=dv.Constant(0.5)).apply(white, 2, condition(white))
    assert torch.equal(grey, (white + expected) / 2)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (4, 4), (5, 2), (14, 3)])
def test_every_pixel_is_in_a_window_and_no_window_is_left_out(size, stride):
    window, shape = dv.SlidingWindow(size, stride), (1, 14, 17)
    covered = torch.zeros(shape)
    for unit in range(len(window.units(shape))):
        box = window.region(shape, unit, 0)
        box.crop(covered).add_(1)
        assert box.area > 0
    assert covered.min() >= 1
    assert window.region(shape, len(window.units(shape)) - 1, 0)[2:] == (14, 17)


@pytest.mark.parametrize(("size", "stride"), [(3, 3), (4, 3), (5, 2)])
def test_the_map_is_that_of_captums_occlusion(context, size, stride):
    classifier, batch, target = context.classifier, context.batch, torch.tensor([2, 0, 1, 2])
    peer = captum.attr.Occlusion(lambda image: classifier(image).softmax(-1))
    channels = batch.image.shape[1]
    expected = peer.attribute(
        batch.image, (channels, size, size), strides=(channels, stride, stride), target=target, baselines=0.5
    )[:, 0]
    window = dv.SlidingWindow(size, stride, dv.Constant(0.5))
    torch.testing.assert_close(dv.EffectMap(window)(batch, target, classifier), expected, rtol=0, atol=1e-6)
    found = dv.effect_map(classifier, batch.image, window, target)
    torch.testing.assert_close(found.map, expected, rtol=0, atol=1e-6)
