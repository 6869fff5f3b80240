"""Rotations and shifts against a classifier that looks at a single pixel, and random signs."""

import torch
from torch import nn

from dovision.attacks.random_sign import RandomSign
from dovision.attacks.spatial import RandomSpatial, Spatial
from dovision.functional.filters import rotate, shift
from dovision.functional.norms import size
from dovision.interfaces import Classifier
from dovision.types import Batch, Task


def bright(row: int, column: int) -> Classifier:
    """Class "yes" where this pixel of 9 x 9 is above one half."""
    layer = nn.Linear(81, 2)
    layer.weight.data.zero_()[1, 9 * row + column] = 4.0
    layer.bias.data = torch.tensor([2.0, 0.0])
    return Classifier(nn.Sequential(nn.Flatten(), layer), Task("multiclass", ("no", "yes")), (0.0,), (1.0,)).eval()


def dot(row: int, column: int, label: int) -> Batch:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, row, column] = 1
    return Batch(image, torch.tensor([label]), torch.tensor([7]), torch.tensor([7]))


def test_the_shift_that_changes_the_answer_is_found_within_epsilon_alone():
    classifier, batch = bright(4, 6), dot(4, 4, label=0)
    attack = Spatial([0.5, 1.0], degrees=0, pixels=2, rotations=1, shifts=5)
    assert torch.equal(attack(batch, classifier, 1.0), shift(batch.image, 0, 2))
    assert classifier(attack(batch, classifier, 0.5)).argmax() == 0
    assert attack.queries == {0.5: 10, 1.0: 26}  # 5 x 5 shifts and the image; half of it rounds to -1, 0 and 1


def test_the_rotation_that_changes_the_answer_is_found():
    classifier, batch = bright(4, 1), dot(1, 4, label=0)  # from the top to the left
    attack = Spatial(1.0, degrees=90, pixels=0, rotations=3, shifts=1)
    torch.testing.assert_close(attack(batch, classifier), rotate(batch.image, 90))
    assert classifier(attack(batch, classifier)).argmax() == 1


def test_a_target_is_gone_for_and_an_image_that_cannot_be_moved_there_keeps_its_answer():
    classifier = bright(4, 6)
    away = Spatial(1.0, degrees=0, pixels=1, rotations=1, shifts=3, target="no")(dot(4, 6, label=1), classifier)
    assert classifier(away).argmax() == 0
    stays = Spatial(1.0, degrees=0, pixels=1, rotations=1, shifts=3, target="yes")(dot(0, 0, label=0), classifier)
    assert classifier(stays).argmax() == 0


def test_a_random_movement_is_as_large_as_the_largest_of_the_grid_in_every_direction():
    classifier, batch = bright(4, 6), dot(4, 4, label=0)
    attack = RandomSpatial([0.5, 1.0], degrees=0, pixels=2, seed=3)
    positions = set()
    for sample in range(200):
        moved = attack(batch._replace(sample=torch.tensor([sample])), classifier, 1.0)
        positions.add(tuple(moved[0, 0].nonzero()[0].tolist()))
    assert positions == {(2, 2), (2, 6), (6, 2), (6, 6)}
    assert attack.queries == {1.0: 0}


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
