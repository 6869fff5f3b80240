import pytest
import torch
from torch import nn

from dovision.attacks.lp_ball import Ball
from dovision.attacks.square import DRAWS, Square, bump, first_candidates, next_candidates, side_of_square
from dovision.functional.norms import size
from dovision.functional.rng import uniform
from dovision.interfaces import Classifier

EPS = {"linf": 0.1, "l2": 0.7}
GREY = torch.full((6, 2, 9, 11), 0.5)
SAMPLE = torch.arange(6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_success_grows_with_queries(norm, trained, digits):
    classifier, eps = trained[0], EPS[norm]
    right = [
        (classifier(Square(eps, queries, norm=norm)(digits, classifier, eps)).argmax(1) == digits.label).sum().item()
        for queries in (1, 20, 200)
    ]
    assert right[0] > right[1] > right[2]


def test_an_answer_is_all_that_it_sees_of_the_classifier(classifier, batch):
    class Detached(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.network(image.detach()).detach()

    expected = Square(0.1, 30)(batch, classifier, 0.1)
    closed = Classifier(Detached(classifier.network), classifier.task, (0.5, 0.4, 0.3), (0.2, 0.3, 0.1)).eval()
    assert torch.equal(Square(0.1, 30)(batch, closed, 0.1), expected)


def test_no_image_costs_more_than_the_queries_and_a_fooled_one_costs_no_more(trained, digits):
    attack, costs = Square(0.3, 30), []
    for row in range(20):
        alone = digits.rows([row])
        attacked = attack(alone, trained[0], 0.3)
        costs.append(round(attack.queries[0.3] * (row + 1)) - sum(costs))
        assert costs[-1] == 30 or trained[0](attacked).argmax(1) != alone.label
    assert max(costs) == 30
    assert min(costs) < 10


def test_squares_shrink_as_in_the_source():
    at = [0, 0.001, 0.0011, 0.0051, 0.0201, 0.0501, 0.11, 0.21, 0.41, 0.61, 0.81]
    areas = [0.8 / 2**halvings for halvings in (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    for progress, area in zip(at, areas, strict=True):
        assert side_of_square(0.8, progress, (224, 224), "linf") == round(area**0.5 * 224)
    assert [side_of_square(0.8, 1, (8, 6), norm) for norm in ("linf", "l2")] == [1, 3]
    assert side_of_square(1.0, 0, (20, 6), "linf") == 6  # no wider than the image


def test_a_bump_is_two_peaks_of_rings_that_weigh_less_and_less():
    found = bump(4)
    assert found.shape == (4, 4)
    torch.testing.assert_close(found.norm(), torch.tensor(1.0))
    torch.testing.assert_close(found[:2], -found[2:])
    # the peak's middle is at row 1, column 2; ring d weighs 1/(d+1)^2 and those further out: 1 + 1/4 + 1/9, ...
    ring = torch.tensor([1 + 1 / 4 + 1 / 9, 1 / 4 + 1 / 9, 1 / 9])
    raw = ring[torch.tensor([[2, 1, 1, 1], [2, 1, 0, 1]])]
    torch.testing.assert_close(found[:2], raw / raw.norm() / 2**0.5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_step_stays_in_the_budget_and_uses_all_of_it(norm):
    ball = Ball(GREY, 0.3, norm)
    image = first_candidates(ball, uniform(GREY.shape[1:], 0, SAMPLE))
    draws = uniform((20, DRAWS + 2), 0, SAMPLE, 1)
    for query in range(20):
        torch.testing.assert_close(size(image - GREY, norm), torch.full((6,), 0.3))
        moved = next_candidates(ball, image, 3, draws[:, query])
        changed = ((moved - image).abs() > 1e-6).any(1).sum((1, 2))
        assert (changed <= 9 * (1 if norm == "linf" else 2)).all()
        image = moved
