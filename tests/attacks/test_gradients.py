import pytest
import torch
from torch import nn

import dovision as dv
from dovision.attacks.gradients import dead_gradients

GREY = torch.full((2, 1, 4, 4), 0.5)


def batch(label: list[int]) -> dv.Batch:
    return dv.Batch(GREY, torch.tensor(label), torch.arange(2), torch.arange(2))


def classifier(network: nn.Module) -> dv.Classifier:
    return dv.Classifier(network, dv.Task("multiclass", ("no", "yes")), (0.0,), (1.0,))


def linear(weight: torch.Tensor) -> nn.Module:
    layer = nn.Linear(16, 2, bias=False)
    layer.weight.data = torch.stack([torch.zeros(16), weight])
    return nn.Sequential(nn.Flatten(), layer)


def test_pixels_that_the_classifier_does_not_look_at_have_a_dead_gradient():
    weight = torch.ones(16)
    weight[:4] = 0
    assert dead_gradients(batch([0, 1]), classifier(linear(weight))).tolist() == [0.25, 0.25]


def test_a_saturated_softmax_has_a_dead_gradient_where_it_is_right_only():
    assert dead_gradients(batch([0, 1]), classifier(linear(torch.full((16,), 1e4)))).tolist() == [0, 1]


@pytest.mark.parametrize("what", [torch.nan, torch.inf])
def test_a_gradient_that_is_no_number_is_dead(what):
    weight = torch.ones(16)
    weight[0] = what
    assert dead_gradients(batch([0, 1]), classifier(linear(weight))).gt(0).all()


class Rounded(nn.Sequential):
    """A network with a masked gradient: its input is rounded to 8 grey values."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward((image * 7).round() / 7)


class Detached(nn.Sequential):
    """A network that lets no gradient through at all."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image.detach())


@pytest.mark.parametrize("mask", [Rounded, Detached])
def test_a_masked_gradient_is_told_and_an_attack_along_it_does_not_move(mask):
    masked = classifier(mask(*linear(torch.ones(16))))
    assert dead_gradients(batch([0, 1]), masked).tolist() == [1, 1]
    assert torch.equal(dv.BIM(0.1, steps=3)(batch([0, 1]), masked, 0.1), GREY)


@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode])
def test_it_is_read_in_any_mode_and_leaves_the_classifier_as_it_was(caller):
    model = classifier(linear(torch.ones(16))).train()
    with caller():
        images = dv.Batch(*(field.clone() for field in batch([0, 1])))
        assert dead_gradients(images, model).tolist() == [0, 0]
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
