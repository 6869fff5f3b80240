"""A graph that was made faster gives what the classifier gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.propagation import Propagation
from dovision.propagation.graph_passes import clamp_before_products, compute_constants
from dovision.propagation.incremental import Incremental
from dovision.propagation.kernels.passes import sum_of_parts
from dovision.propagation.tracing import trace
from dovision.types import INPUT, Box

from .conftest import Painted


class ReadTwice(nn.Module):
    """What a batch-norm gives, read by a ReLU and by a sum."""

    def __init__(self):
        super().__init__()
        self.norm, self.mix = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        normed = self.norm(x)
        return normed + self.mix(torch.relu(normed))


class ReluReadTwice(ReadTwice):
    """What a ReLU gives, read by a convolution and by a sum."""

    def forward(self, x):
        positive = torch.relu(self.norm(x))
        return positive + self.mix(positive)


class Functional(ReadTwice):
    """A batch-norm by its function, of which the smallest variance is that of its default eps."""

    def forward(self, x):
        mean, variance = 1e-3 * self.norm.running_mean, 1e-5 * self.norm.running_var
        return self.mix(torch.relu(nn.functional.batch_norm(x, mean, variance)))


class Large(nn.BatchNorm2d):
    """A batch-norm with shifts beside which nothing of a value is left."""

    def __init__(self):
        super().__init__(8)

    def forward(self, x):
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, 1e4 * self.bias)


def after(*layers):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def with_statistics(network):
    """Scales of either sign, near zero, and zero; shifts of either sign."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
            if module.affine:
                module.weight.data.copy_(torch.tensor([1.0, -1.0, 2.0, -0.5, 1e-40, -1e-40, 0.0, 0.0]))
                module.bias.data.copy_(torch.tensor([0.5, -0.5, -1.0, 1.0, -0.3, -0.3, 0.4, -0.4]))
    return network


RELU = nn.ReLU()
CLAMPED = {
    "one": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1)), 1),
    "without a bias": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1, bias=False)), 1),
    "of stride 2": (after(nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 5, 1, stride=2)), 1),
    "without weights": (after(nn.BatchNorm2d(8, affine=False), RELU, nn.Conv2d(8, 5, 1)), 1),
    "behind a convolution": (after(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1)), 1),
    "padded": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1, padding=1)), 0),
    "of 3 x 3": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 3)), 0),
    "in groups": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 5, 1)), 0),
    "another activation": (after(nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 5, 1)), 0),
    "read twice": (after(ReadTwice(), nn.Conv2d(8, 5, 1)), 0),
    "relu read twice": (after(ReluReadTwice(), nn.Conv2d(8, 5, 1)), 0),
    "by its function": (after(Functional(), nn.Conv2d(8, 5, 1)), 1),
    "of the same size": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1, padding="same")), 1),
    "valid": (after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1, padding="valid")), 1),
    "of large shifts": (after(Large(), RELU, nn.Conv2d(8, 5, 1)), 0),
}


@pytest.mark.parametrize("name", CLAMPED)
def test_a_batch_norm_before_a_convolution_of_one_place_becomes_a_clamp(name, classifier_of, batch_of):
    network, clamped = CLAMPED[name]
    classifier, image = classifier_of(with_statistics(network)), batch_of(2, 3, 24, 24).image
    graph = clamp_before_products(compute_constants(trace(classifier, None, image, 0, 0.0)))
    functions = [step.function for step in graph.steps]
    assert functions.count(torch.clamp) == clamped
    with torch.no_grad():
        found = Incremental(graph, False).clean(image).control
        torch.testing.assert_close(found, classifier(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("site", "clamped"), [(INPUT, 1), ("2", 0), ("3", 0), ("4", 1)])
def test_edits_are_as_in_whole_passes(site, clamped, classifier_of, batch_of, expected_outcome, assert_equal):
    layers = [nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3)]
    classifier, batch = classifier_of(with_statistics(after(*layers))), batch_of(2, 3, 24, 24)
    intervention = Painted([[Box(0, 0, 4, 4)], [Box(4, 2, 8, 9)], [None]], site)
    propagation = Propagation(classifier, intervention)
    outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, intervention, batch))
    steps = propagation.engine.graph.steps if isinstance(propagation.engine, Incremental) else ()
    assert sum(step.function is torch.clamp for step in steps) == clamped
    for chunk in (3, 17):
        assert torch.equal(Propagation(classifier, intervention, chunk)(batch).treated, outcome.treated)


def test_what_is_no_number_stays_so_behind_a_clamp(classifier_of, batch_of):
    classifier = classifier_of(with_statistics(after(nn.BatchNorm2d(8), RELU, nn.Conv2d(8, 5, 1))))
    image = batch_of(2, 3, 24, 24).image
    image[0, 0, 3, 3] = torch.nan
    graph = clamp_before_products(compute_constants(trace(classifier, None, image[1:], 0, 0.0)))
    with torch.no_grad():
        found = Incremental(graph, False).clean(image).control
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


class Branches(nn.Module):
    """As of ResNeSt: parts of the channels, summed, and how many of them are above zero."""

    def __init__(self, parts, *args, **options):
        super().__init__()
        self.parts, self.args, self.options = parts, args, options

    def forward(self, x):
        parts = x.view(x.shape[0], self.parts, -1, x.shape[2], x.shape[3])
        summed = parts.sum(*self.args, **self.options)
        return torch.relu(summed.flatten(1, -3)) + (parts > 0).sum(1) + torch.sum(parts, (1,))


@pytest.mark.parametrize(
    ("branches", "added"),
    [
        (Branches(2, dim=1), 2),
        (Branches(2, 1), 2),
        (Branches(4, dim=1), 2),
        (Branches(2, 1, True), 1),
        (Branches(2, 1, keepdim=True), 1),
        (Branches(2, dim=1, dtype=torch.float32), 1),
    ],
)
def test_a_sum_of_parts_is_that_of_torch(branches, added, classifier_of, batch_of, expected_outcome, assert_equal):
    network = nn.Sequential(*after(branches), nn.Linear(8 // branches.parts, 5))
    classifier, batch = classifier_of(with_statistics(network)), batch_of(2, 3, 24, 24)
    propagation = Propagation(classifier, Painted([[Box(2, 3, 5, 4)]]))
    assert_equal(propagation(batch), expected_outcome(classifier, propagation.intervention, batch))
    assert isinstance(propagation.engine, Incremental)
    assert sum(step.function is sum_of_parts for step in propagation.engine.graph.steps) == added


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.bool])
@pytest.mark.parametrize("parts", [0, 1, 2, 3])
def test_parts_of_any_type_and_number_are_summed_as_torch_sums_them(dtype, parts):
    value = torch.randint(0, 2, (parts, 4, parts), generator=torch.Generator().manual_seed(0)).to(dtype)
    for axis in (0, 1, -1):
        summed, expected = sum_of_parts(value, axis), value.sum(axis)
        assert summed.dtype == expected.dtype
        assert torch.equal(summed, expected)
