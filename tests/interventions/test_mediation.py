"""Total, direct and indirect effects against a linear network worked by hand, and against hooks set by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dovision as dv
from dovision.interfaces import Context
from dovision.interventions.joint import Mediation
from dovision.propagation import Propagation

CELLS = dv.PixelGrid(1, 2)
IMAGE = torch.full((1, 1, 1, 2), 1.0)


class Mediated(nn.Module):
    """Logits (0, y) of a pixel x: the mediator is m = 2 x, and y = 3 m + 5 x, or with a product 3 m + 5 x + 7 m x."""

    def __init__(self, product: float = 0.0) -> None:
        super().__init__()
        self.mediator, self.product = nn.Linear(1, 1, bias=False), product
        nn.init.constant_(self.mediator.weight, 2.0)

    def forward(self, image):
        x = image[:, 0, 0, :1]
        m = self.mediator(x)
        y = 3 * m + 5 * x + self.product * m * x
        return torch.cat([torch.zeros_like(y), y], 1)


def batch(image: torch.Tensor = IMAGE) -> dv.Batch:
    number = torch.arange(len(image))
    return dv.Batch(image, torch.zeros_like(number), number, number)


@pytest.mark.parametrize(
    ("product", "total", "direct", "indirect"),
    [(0.0, -11.0, -5.0, -6.0), (7.0, -25.0, -19.0, -20.0)],  # x from 1 to 0; with m x the rest is the interaction, 14
)
def test_effects_of_a_linear_network_are_those_worked_by_hand(product, total, direct, indirect):
    classifier = dv.wrap(Mediated(product), ["no", "yes"])
    outcome = Propagation(classifier, Mediation(CELLS, "mediator"))(batch())
    effects = dict(zip(outcome.units, (outcome.treated[0] - outcome.control)[:, 1].tolist(), strict=True))
    expected = {"r0c0": total, "r0c0 direct": direct, "r0c0 indirect": indirect}
    assert {name: effects[name] for name in expected} == pytest.approx(expected)
    assert [effects[f"r0c1{end}"] for end in ("", " direct", " indirect")] == pytest.approx([0, 0, 0])  # not read


@torch.no_grad()
def test_effects_of_a_network_of_two_branches_are_those_of_hooks_set_by_hand():
    torch.manual_seed(0)

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
            self.last = nn.Linear(4, 3)

        def forward(self, image):
            return self.last((self.left(image).relu() * self.right(image).relu()).mean((2, 3)))

    network = Branches().eval()
    images, grid = torch.rand(4, 3, 12, 12), dv.PixelGrid(2, 2)
    classifier = dv.wrap(network, 3)
    passes: list[int] = []
    outcome = Propagation(classifier, Mediation(grid, "left"), chunk=3)(batch(images), passes.append)

    def run(image, left):
        with network.left.register_forward_hook(lambda module, args, output: left):
            return network(image)

    for unit in range(4):
        painted = grid.apply(images, unit, Context(batch(images), classifier))
        for number, expected in enumerate(
            (network(painted), run(painted, network.left(images)), run(images, network.left(painted)))
        ):
            torch.testing.assert_close(outcome.treated[:, 4 * number + unit], expected, rtol=0, atol=1e-5)
    assert sum(passes) == 4 * (1 + 4 * 3)  # each route in one pass
