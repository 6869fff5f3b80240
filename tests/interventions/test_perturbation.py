from __future__ import annotations

import torch

from dovision.interfaces import Attack
from dovision.interventions.perturbation import Perturbation


class Brighten(Attack):
    """Adds epsilon to each pixel that can take it."""

    def run(self, batch, classifier, eps):
        return (batch.image + eps).clamp(0, 1)


def test_there_is_a_unit_for_each_epsilon_named_as_the_conditions_are():
    assert Perturbation(Brighten([0.1, "1/4"])).units((1, 4, 4)) == ("eps=0.1", "eps=0.25")


def test_do_is_the_attack_on_what_the_image_is_now(context):
    value = torch.full_like(context.batch.image, 0.5)
    with torch.no_grad():
        treated = Perturbation(Brighten([0.1, 0.25])).apply(value, 1, context)
    assert torch.equal(treated, torch.full_like(value, 0.75))
