"""Edits that are the dataset's own counterfactuals."""

from __future__ import annotations

import torch

from dovision.interventions.counterfactual import Counterfactual
from dovision.types import Box

SCENE = [
    (0, "lamp0", "lit", 1, 1, 3, 4),
    (0, "lamp1", "lit", 6, 6, 9, 8),
    (0, "tag", None, 10, 0, 12, 2),
    (1, "lamp0", "lit", 1, 1, 3, 4),
    (2, "tag", None, 10, 0, 12, 2),
]


def bound(images) -> Counterfactual:
    intervention = Counterfactual()
    intervention.bind(images, "test")
    return intervention


def test_units_are_the_objects_and_all_that_speak_for_a_class_together(lamps):
    images = lamps(SCENE)
    assert bound(images).units(images.shape) == ("lamp0", "lamp1", "tag", "all labelled")
    assert bound(lamps(SCENE[4:])).units(images.shape) == ("tag",)


def test_the_region_of_several_objects_is_the_box_around_them_and_of_none_empty(lamps):
    images = lamps(SCENE)
    intervention = bound(images)
    assert [intervention.region(images.shape, unit, 0) for unit in (1, 3)] == [Box(6, 6, 9, 8), Box(1, 1, 9, 8)]
    assert intervention.region(images.shape, 3, 1) == Box(1, 1, 3, 4)
    assert [intervention.region(images.shape, unit, 2).area for unit in (0, 1, 3)] == [0, 0, 0]


def test_on_clean_films_do_is_the_datasets_counterfactual_bit_for_bit(phantom, films):
    intervention = bound(phantom)
    units = intervention.units(phantom.shape)
    seen = set()
    for sample in range(len(films.batch.image)):
        present = phantom.objects("test", sample)
        lesions = [obj for obj in present if obj not in ("tag", "rib")]
        one = films.rows([sample])
        for unit, name in enumerate(units):
            left_out = lesions if name == "all labelled" else [obj for obj in present if obj == name]
            treated = intervention.apply(one.batch.image, unit, one)[0]
            assert torch.equal(treated, phantom.counterfactual("test", sample, *left_out))
            seen |= {name} if left_out else set()
    assert seen == set(units)


def test_on_attacked_films_the_change_is_that_of_the_clean_ones(phantom, films):
    intervention = bound(phantom)
    noise = 0.02 * torch.randn(films.batch.image.shape, generator=torch.Generator().manual_seed(0))
    attacked = (films.batch.image + noise).clamp(0, 1)
    unit = intervention.units(phantom.shape).index("rib")
    for sample in range(4):
        one = films.rows([sample])
        change = phantom.counterfactual("test", sample, "rib").double() - one.batch.image.double()
        treated = intervention.apply(attacked[[sample]], unit, one)
        torch.testing.assert_close(treated.double(), (attacked[[sample]] + change).clamp(0, 1), atol=1e-6, rtol=0)
