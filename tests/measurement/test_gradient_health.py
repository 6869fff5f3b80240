from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from dovision.attacks.gradients import dead_gradients
from dovision.interfaces import Attack, Classifier
from dovision.measurement.gradient_health import GradientHealth, Queries, load_state, saved_state
from dovision.types import Batch, Task


class Masked(nn.Module):
    """Two classes by the brightness, which lets no gradient of the first `hidden` rows of pixels through."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, image):
        seen = torch.cat([image[:, :, : self.hidden].detach(), image[:, :, self.hidden :]], 2)
        value = seen.mean((1, 2, 3)) - 0.5
        return torch.stack([torch.zeros_like(value), value], 1)


def masked(hidden: int) -> tuple[Batch, Classifier]:
    batch = Batch(torch.full((2, 1, 10, 4), 0.6), torch.tensor([0, 1]), torch.arange(2), torch.arange(2))
    return batch, Classifier(Masked(hidden), Task("multiclass", ("dark", "bright")), [0.0], [1.0])


def health(hidden: int) -> GradientHealth:
    found, (batch, classifier) = GradientHealth(), masked(hidden)
    found.update(dead_gradients(batch, classifier))
    found.update(dead_gradients(batch, classifier))
    return found


@pytest.mark.parametrize("hidden", [1, 10])
def test_a_network_with_masked_gradients_raises_the_warning(hidden, caplog):
    found = health(hidden)
    assert found.compute() == pytest.approx(hidden / 10)
    found.warn()
    assert f"{10 * hidden}% of the gradients are zero or not finite" in caplog.text
    assert "no sign of robustness" in caplog.text


def test_a_network_without_does_not(caplog):
    found = health(0)
    assert found.compute() == 0
    found.warn()
    assert caplog.text == ""


class Counted(Attack):
    """Takes 3 passes for each image at an epsilon of 0.1, and 1 at 0.2."""

    def run(self, batch, classifier, eps):
        for _ in range(3 if eps == 0.1 else 1):
            classifier(batch.image)
        return batch.image


def test_queries_are_the_mean_over_images_and_go_on_from_the_state_of_an_earlier_start():
    attack, (batch, classifier) = Counted([0.0, 0.1, 0.2]), masked(0)
    first = Queries(attack)
    for eps in (0.0, 0.1, 0.2):
        attack(batch, classifier, eps)
    first.update(2)
    assert first.by_epsilon() == {"0.1": 3.0, "0.2": 1.0}
    second = Queries(attack)  # that the attack has done something before does not count
    load_state(second, json.loads(json.dumps(saved_state(first))))
    attack(batch.rows(slice(0, 1)), classifier, 0.1)
    second.update(1)
    assert second.by_epsilon() == {"0.1": pytest.approx(9 / 3), "0.2": pytest.approx(2 / 3)}
