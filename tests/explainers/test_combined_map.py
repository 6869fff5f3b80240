"""The mean of maps of one size each as a loss of probability, and how far they lie apart."""

import math

import pytest
import torch
from torch import nn

import dovision as dv

TARGET = torch.tensor([0, 1])


class Painted(dv.Explainer):
    """The same map for every image."""

    def __init__(self, *rows: list[float]) -> None:
        self.painted = torch.tensor(rows)

    def run(self, batch, target, classifier):
        return self.painted.expand(len(batch.image), -1, -1)


LOGITS = torch.tensor([2.0, -1.0, 0.5])


class SameLogits(nn.Module):
    """The same logits for every image."""

    def forward(self, image):
        return LOGITS.expand(len(image), -1)


@pytest.fixture
def classifier() -> dv.Classifier:
    return dv.Classifier(SameLogits(), dv.Task("multilabel", ("a", "b", "c")), (0.5,) * 3, (0.2,) * 3).eval()


def explained(batch, classifier, **explainers):
    return dv.CombinedMap(explainers).explain(batch, TARGET, classifier)


def lost(log_odds: float, target: int) -> float:
    """Probability of the class minus that with its log-odds less by this, by the definition of the sigmoid."""
    before, after = (1 / (1 + math.exp(-value)) for value in (LOGITS[target], LOGITS[target] - log_odds))
    return before - after


def test_the_map_is_the_probability_lost_with_the_mean_of_the_maps_each_of_which_counts_alike(classifier, images):
    found = explained(images(2, 3, 1, 2), classifier, a=Painted([0.0, 4.0]), b=Painted([-0.5, 0.25]))
    size = (4.0 + 0.5) / 2
    for row, target in enumerate(TARGET.tolist()):
        expected = [lost((0 - 1) / 2 * size, target), lost((1 + 0.5) / 2 * size, target)]
        torch.testing.assert_close(found.map[row, 0], torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_a_multiclass_probability_follows_the_log_odds_of_the_class(images):
    classifier = dv.Classifier(SameLogits(), dv.Task("multiclass", ("a", "b", "c")), (0.5,) * 3, (0.2,) * 3).eval()
    found = explained(images(2, 3, 1, 2), classifier, a=Painted([0.0, 2.0]), b=Painted([0.0, 2.0]))
    before = LOGITS.double().softmax(0)[TARGET]
    after = (torch.log(before / (1 - before)) - 2).sigmoid()
    torch.testing.assert_close(found.map[:, 0, 1], (before - after).float(), rtol=1e-6, atol=1e-6)


def test_the_spread_is_zero_where_maps_agree_and_in_units_of_the_map(classifier, images):
    found = explained(images(2, 3, 1, 2), classifier, a=Painted([1.0, 2.0]), b=Painted([0.0, 7.0]))
    assert found.spread[:, 0, 1].tolist() == [0, 0]
    torch.testing.assert_close(found.spread[:, 0, 0], found.map[:, 0, 0])  # of 0 and twice the mean


def test_a_map_of_zeros_leaves_the_others_and_what_is_not_finite_is_passed_on(classifier, images):
    batch = images(2, 3, 1, 2)
    found = explained(batch, classifier, a=Painted([0.0, 0.0]), b=Painted([0.0, 1.0]))
    assert found.map[0, 0].tolist() == [0, pytest.approx(lost(0.5 * 0.5, 0))]
    assert explained(batch, classifier, a=Painted([0.0, 0.0]), b=Painted([0.0, 0.0])).map.count_nonzero() == 0
    assert explained(batch, classifier, a=Painted([torch.nan, 0.0]), b=Painted([0.0, 1.0])).map.isnan().any()
