from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.evaluation.gradient_health import GradientHealth
from dovision.interfaces import Classifier
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


def health(hidden: int) -> GradientHealth:
    found = GradientHealth()
    batch = Batch(torch.full((2, 1, 10, 4), 0.6), torch.tensor([0, 1]), torch.arange(2), torch.arange(2))
    classifier = Classifier(Masked(hidden), Task("multiclass", ("dark", "bright")), [0.0], [1.0])
    found.add(batch, classifier)
    found.add(batch, classifier)
    return found


@pytest.mark.parametrize("hidden", [1, 10])
def test_a_network_with_masked_gradients_raises_the_warning(hidden, caplog):
    found = health(hidden)
    assert found.share == pytest.approx(hidden / 10)
    found.warn()
    assert f"{10 * hidden} % of the gradients are zero or not finite" in caplog.text
    assert "no sign of robustness" in caplog.text


def test_a_network_without_does_not(caplog):
    found = health(0)
    assert found.share == 0
    found.warn()
    assert caplog.text == ""


def test_where_no_image_was_looked_at_nothing_is_logged(caplog):
    found = GradientHealth()
    assert found.share is None
    found.warn()
    assert caplog.text == ""
