from __future__ import annotations

import torch

from dovision.attacks.random_sign import RandomSign
from dovision.functional.norms import size
from dovision.types import Batch


def grey(images: int) -> Batch:
    rows = torch.arange(images)
    return Batch(torch.full((images, 1, 8, 8), 0.5), torch.zeros(images, dtype=torch.long), rows, rows)


def test_every_pixel_moves_by_epsilon_up_or_down_equally_often(classifier):
    delta = RandomSign(0.25, seed=1)(grey(300), classifier, 0.25) - 0.5
    assert torch.equal(delta.abs(), torch.full_like(delta, 0.25))
    assert delta.sign().mean().abs() < 3 / delta.numel() ** 0.5  # three standard errors
    assert delta.sign().mean(0).abs().max() < 5 / 300**0.5


def test_l2_noise_is_of_length_epsilon(classifier):
    delta = RandomSign(0.4, norm="l2")(grey(5), classifier, 0.4) - 0.5
    torch.testing.assert_close(size(delta, "l2"), torch.full((5,), 0.4))
    torch.testing.assert_close(delta.abs(), torch.full_like(delta, 0.05))  # 0.4 / sqrt(64)


def test_l1_noise_moves_single_pixels_to_the_far_end_until_epsilon_is_spent(classifier):
    black = grey(5)._replace(image=torch.zeros(5, 1, 8, 8))
    moved = RandomSign(2.25, norm="l1")(black, classifier, 2.25).flatten(1).sort(1, descending=True).values
    torch.testing.assert_close(moved[:, :4], torch.tensor([1, 1, 0.25, 0]).expand(5, 4))
    delta = RandomSign([1.0, 3.0], norm="l1")(grey(200), classifier, 3.0) - 0.5
    torch.testing.assert_close(size(delta, "l1"), torch.full((200,), 3.0))
    assert (delta.flatten(1) != 0).sum(1).eq(6).all()
    assert (delta.flatten(1) != 0).float().mean(0).sub(6 / 64).abs().max() < 0.1  # any pixel


def test_at_a_bound_there_is_half_of_it(classifier):
    black = grey(50)._replace(image=torch.zeros(50, 1, 8, 8))
    delta = RandomSign(0.25)(black, classifier, 0.25)
    assert set(delta.unique().tolist()) == {0.0, 0.25}


def test_the_signs_are_the_same_for_each_epsilon_and_differ_between_seeds(classifier):
    signs = [(RandomSign(eps, seed=seed)(grey(5), classifier, eps) - 0.5).sign() for eps, seed in ((0.1, 0), (0.3, 0))]
    assert torch.equal(*signs)
    assert not torch.equal(signs[0], (RandomSign(0.1, seed=1)(grey(5), classifier, 0.1) - 0.5).sign())


def test_the_classifier_is_not_asked(classifier):
    attack = RandomSign(0.1)
    attack(grey(5), classifier, 0.1)
    assert attack.queries == {0.1: 0}
