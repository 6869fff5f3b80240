"""Attacks of paper/ through few parameters change what they may, and reach the best change of a linear network."""

import pytest
import torch

import dovision as dv
from paper.indirect_attacks import Lighting, LowFrequency, Patch, Sparse


@pytest.fixture
def bright():
    """A network that calls images bright whose mean is above a half, and four grey images."""
    linear = torch.nn.Linear(64, 2)
    linear.weight.data, linear.bias.data = torch.tensor([[0.0], [1 / 64]]).repeat(1, 64), torch.tensor([0.5, 0.0])
    classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), linear), classes=["dark", "bright"], mean=0, std=1)
    image = torch.full((4, 1, 8, 8), 0.4)
    return classifier, dv.Batch(image, torch.tensor([0, 0, 1, 1]), torch.arange(4), torch.arange(4))


@pytest.mark.parametrize(("attack", "brighter", "darker"), [(LowFrequency, 0.6, 0.2), (Lighting, 0.48, 0.32)])
def test_a_field_of_one_number_raises_or_lowers_all_pixels_as_far_as_it_may(bright, attack, brighter, darker):
    classifier, batch = bright
    image = attack(eps=0.2, steps=10, cells=1)(batch, classifier)
    torch.testing.assert_close(image[:2], torch.full_like(image[:2], brighter))
    torch.testing.assert_close(image[2:], torch.full_like(image[2:], darker))


@pytest.mark.parametrize(("attack", "pixels"), [(Patch(1.0, steps=10, side=3), 9), (Sparse(1.0, steps=10, count=5), 5)])
def test_pixels_of_a_patch_and_of_a_count_take_any_value_and_others_none(bright, attack, pixels):
    classifier, batch = bright
    image = attack(batch, classifier)
    assert [image[n][image[n] != 0.4].tolist() for n in range(4)] == [[1.0] * pixels] * 2 + [[0.0] * pixels] * 2
    if isinstance(attack, Patch):
        for rows, columns in (torch.where(changed[0] != 0.4) for changed in image):
            assert (rows.max() - rows.min(), columns.max() - columns.min()) == (2, 2)
    assert torch.equal(attack(batch.rows(torch.tensor([2])), classifier), image[2:3])
