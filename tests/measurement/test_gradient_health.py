import json
from collections import Counter

import pytest
import torch
from torch import nn

from dovision.attacks.gradients import dead_gradients
from dovision.interfaces import Attack, Classifier
from dovision.measurement.gradient_health import (
    count_dead_gradients,
    count_passes,
    dead_gradient_share,
    queries,
    warn_of_dead_gradients,
)
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


@pytest.mark.parametrize("hidden", [0, 1, 10])
def test_masked_gradients_raise_the_warning(hidden, caplog):
    counters, (batch, classifier) = Counter[str](), masked(hidden)
    for _ in range(2):
        count_dead_gradients(counters, dead_gradients(batch, classifier))
    assert dead_gradient_share(counters) == pytest.approx(hidden / 10)
    warn_of_dead_gradients(counters)
    assert (f"{10 * hidden}% of the gradients are zero or not finite" in caplog.text) == bool(hidden)


class Counted(Attack):
    """Takes 3 passes for each image at an epsilon of 0.1, and 1 at 0.2."""

    def run(self, batch, classifier, eps):
        for _ in range(3 if eps == 0.1 else 1):
            classifier(batch.image)
        return batch.image


def test_queries_are_the_mean_over_images_of_all_starts():
    attack, (batch, classifier) = Counted([0.0, 0.1, 0.2]), masked(0)
    for eps in (0.0, 0.1, 0.2):
        attack(batch, classifier, eps)
    counters = Counter[str]()
    assert queries(counters, "attack", attack) == {}
    count_passes(counters, "attack", attack.passes, 2)
    counters = Counter(json.loads(json.dumps(counters)))
    count_passes(counters, "attack", Counter({0.1: 3}), 1)
    assert queries(counters, "attack", attack) == {"0.1": pytest.approx(9 / 3), "0.2": pytest.approx(2 / 3)}
