"""Effect maps on a linear model, and of one classifier after another."""

import pytest
import torch
from torch import Tensor, nn

import dovision as dv
from dovision.interfaces import Context
from dovision.types import Shape

TARGET = torch.tensor([2, 0, 1, 2, 2])


class Boxes(dv.Intervention):
    """do(box = black), for boxes chosen by the test; a box of None is everything."""

    site = dv.INPUT

    def __init__(self, *boxes: dv.Box | None) -> None:
        self.boxes = boxes

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(f"u{unit}" for unit in range(len(self.boxes)))

    def region(self, shape: Shape, unit: int, sample: int) -> dv.Box | None:
        return self.boxes[unit]

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        box = self.boxes[unit]
        return torch.zeros_like(value if box is None else box.crop(value))


def test_on_a_linear_model_a_pixel_takes_its_weight_times_its_distance_from_the_fill_away(linear, images):
    weight = torch.randn(3, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    batch = images(5, 2, 5, 6)
    explainer = dv.EffectMap(dv.PixelGrid(5, 6, dv.Constant(0.25)), scale="log_odds")
    expected = (weight[TARGET] * (batch.image - 0.25)).sum(1)
    torch.testing.assert_close(explainer(batch, TARGET, linear(weight)), expected, rtol=0, atol=1e-5)


def test_evidence_taken_away_is_positive_and_of_probability_by_default(linear, images):
    weight = torch.tensor([3.0, -1.0]).reshape(1, 1, 1, 2)
    batch = images(1, 1, 1, 2)._replace(image=torch.tensor([1.0, 0.5]).reshape(1, 1, 1, 2))
    maps = dv.EffectMap(dv.PixelGrid(1, 2))(batch, torch.tensor([0]), linear(weight))
    logits = torch.tensor([[2.5, 2.5], [-0.5, 3.0]])  # of the image; without the left pixel, without the right one
    expected = logits[0].sigmoid() - logits[1].sigmoid()
    torch.testing.assert_close(maps[0, 0], expected)


def test_the_mean_is_painted_where_regions_overlap_and_zero_where_there_is_none(linear, images):
    weight = torch.tensor([1.0, 2.0, 4.0, 8.0]).reshape(1, 1, 1, 4)
    batch = images(1, 1, 1, 4)._replace(image=torch.ones(1, 1, 1, 4))
    boxes = Boxes(dv.Box(0, 0, 1, 2), dv.Box(0, 1, 1, 3), dv.Box(0, 3, 1, 3))  # the last is empty
    maps = dv.EffectMap(boxes, scale="log_odds")(batch, torch.tensor([0]), linear(weight))
    torch.testing.assert_close(maps[0, 0], torch.tensor([3.0, 4.5, 6.0, 0.0]))


def test_what_is_not_finite_is_passed_on(convolutional, images):
    classifier = convolutional()
    nn.init.constant_(classifier.network[6].bias, torch.nan)
    assert dv.EffectMap(dv.PixelGrid(2, 2))(images(5, 3, 12, 15), TARGET, classifier).isnan().all()


def test_new_weights_and_layers_of_the_same_classifier_are_seen(convolutional, images):
    explainer, batch, classifier = dv.EffectMap(dv.PixelGrid(2, 2)), images(5, 3, 12, 15), convolutional()
    explainer(batch, TARGET, classifier)
    for change in (
        lambda network: nn.init.normal_(network[0].weight),
        lambda network: setattr(network, "6", nn.Linear(5, 3)),
    ):
        change(classifier.network)
        expected = dv.EffectMap(dv.PixelGrid(2, 2))(batch, TARGET, classifier)
        assert torch.equal(explainer(batch, TARGET, classifier), expected)


def test_a_unit_that_touches_everything_is_refused(convolutional, images):
    with pytest.raises(ValueError, match="each unit of intervention must have a region to be painted on, .* 'u1'"):
        dv.EffectMap(Boxes(dv.Box(0, 0, 2, 2), None))(images(5, 3, 12, 15), TARGET, convolutional())
