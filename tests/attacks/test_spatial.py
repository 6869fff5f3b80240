"""Rotations and shifts, against a classifier that looks at a single pixel."""

from __future__ import annotations

import torch
from torch import nn

from dovision.attacks.spatial import RandomSpatial, Spatial
from dovision.functional.filters import rotate, shift
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
