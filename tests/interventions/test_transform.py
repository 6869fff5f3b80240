"""Transforms of whole images as interventions, as fills, and one after the other."""

import math

import pytest
import torch

import dovision as dv
from dovision.functional.filters import median_filter, reduce_depth
from dovision.interventions.fills import ImageFill
from dovision.propagation import Propagation


def test_a_sequence_goes_step_by_step(context):
    both = dv.TransformSequence({"first": dv.BitDepth(1), "second": dv.MedianFilter(2)})
    expected = median_filter(reduce_depth(context.batch.image, 1), 2)
    assert torch.equal(both(context.batch.image, context), expected)


def test_a_flip_exchanges_left_and_right_and_twice_is_none(context):
    image = context.batch.image
    flipped = dv.HorizontalFlip()(image, context)
    assert torch.equal(flipped[..., 0], image[..., -1])
    assert torch.equal(dv.HorizontalFlip()(flipped, context), image)


def test_noise_is_by_the_amount_up_or_down_and_clipped(context):
    grey = torch.full_like(context.batch.image, 0.5)
    change = dv.SignNoise("1/4", seed=0)(grey, context) - grey
    assert torch.equal(change.abs(), torch.full_like(grey, 0.25))
    assert abs(change.mean()) < 0.02
    assert dv.SignNoise(1.0, seed=0)(grey, context).unique().tolist() == [0, 1]


def test_a_random_affine_turns_and_shifts_each_image_by_another_amount_within_its_bounds(context):
    rows = torch.linspace(0, 1, 14).view(1, 1, 14, 1).expand(4, 3, 14, 17)  # as high as a place lies
    middle = dv.RandomAffine(0.0, 0.1, seed=0)(rows, context)[:, 0, 7, 8] - rows[:, 0, 7, 8]
    assert len(middle.unique()) == 4
    assert (middle.abs() <= 0.1 * 14 / 13 + 1e-6).all()
    turned = dv.RandomAffine(10.0, 0.0, seed=0)(rows, context)[:, 0, 7]
    slope = (turned[:, 10] - turned[:, 6]) / (rows[0, 0, 9, 8] - rows[0, 0, 5, 8])  # sine of the angle
    assert len(slope.unique()) == 4
    assert (slope.abs() <= math.sin(math.radians(10)) + 1e-6).all()


def test_a_transformed_region_is_a_crop_of_the_transformed_image(context):
    region = dv.Box(2, 3, 7, 12)
    found = dv.Transformed(dv.MedianFilter(3))(context.batch.image, region, context)
    assert torch.equal(found, region.crop(median_filter(context.batch.image, 3)))


class Counted(ImageFill):
    """Fill that counts the images that are painted."""

    def __init__(self, fill):
        self.fill, self.images = fill, 0

    def canvas(self, value, context):
        self.images += len(value)
        return self.fill.canvas(value, context)


@pytest.mark.parametrize("fill", [dv.Constant(0.3), dv.Mean(), dv.Transformed(dv.MedianFilter(3))])
@pytest.mark.parametrize(
    "painting",
    [
        lambda fill: dv.PixelGrid(4, 5, fill),
        lambda fill: dv.SlidingWindow(6, 3, fill),
        lambda fill: dv.Brush({"a": torch.eye(14, 17) > 0, "b": torch.arange(17).expand(14, 17) < 5}, fill, controls=1),
        lambda fill: dv.EdgeControl(dv.PixelGrid(2, 3, fill), soft=0.2),
        lambda fill: dv.Joint(dv.PixelGrid(2, 3, fill), held=dv.Activation("1", choose=[0])),
    ],
)
def test_an_image_is_painted_once_for_all_units_as_unit_by_unit(painting, fill, context):
    by_unit, counted = painting(lambda *arguments: fill(*arguments)), Counted(fill)
    expected = Propagation(context.classifier, by_unit)(context.batch)
    outcome = Propagation(context.classifier, painting(counted))(context.batch)
    assert torch.equal(outcome.treated, expected.treated)
    assert (outcome.skipped, counted.images) == (expected.skipped, 4)


class Brighter(dv.Constant):
    def __call__(self, value, region, context):
        return super().__call__(value, region, context) + 0.25


class Halved(dv.PixelGrid):
    def do(self, value, unit, context):
        return super().do(value, unit, context) / 2


@pytest.mark.parametrize("grid", [dv.PixelGrid(2, 3, Brighter(0.5)), Halved(2, 3, dv.Mean())])
def test_a_subclass_that_paints_otherwise_is_measured_as_it_is_written(grid, context):
    outcome = Propagation(context.classifier, grid)(context.batch)
    for unit in range(6):
        expected = context.classifier(grid.apply(context.batch.image, unit, context))
        torch.testing.assert_close(outcome.treated[:, unit], expected, atol=1e-5, rtol=0)


class Brighten(dv.Attack):
    """Adds epsilon to each pixel that can take it."""

    def run(self, batch, classifier, eps):
        return (batch.image + eps).clamp(0, 1)


def test_there_is_a_unit_for_each_epsilon_named_as_the_conditions_are():
    assert dv.Perturbation(Brighten([0.1, "1/4"])).units((1, 4, 4)) == ("eps=0.1", "eps=0.25")
