"""Printed intervals of nominal .95 cover at least .93: a short form of checks/interval_coverage.py."""

import pytest

from programs import program


@pytest.fixture(scope="module")
def check():
    return program("checks/interval_coverage.py")


QUANTITIES = (
    "effect on P(class), every class",
    "expected effect",
    "difference of two sizes",
    "P(predicted class) falls by .1",
    "log-odds of the predicted class",
)


@pytest.mark.parametrize("name", ["birds", "digits", "films", "mnist"])
def test_intervals_of_recorded_effects_hold_from_five_images_on(check, name):
    population = check.populations()[name]
    assert len(population.control) >= 1000
    for what in QUANTITIES:
        for images in (5, 50):
            found = check.of_effects(population, what, images, 200, unequal=False, seed=0)
            assert not check.Coverage(what, images, 200, *found).too_low
    assert not check.Coverage("", 20, 200, *check.of_effects(population, what, 20, 200, unequal=True, seed=0)).too_low


def test_intervals_of_areas_hold(check):
    printed, held = check.counted(check.of_areas(check.auroc, 1.8124, 15, 150, True, 0), 0.9)
    assert printed == 150
    assert held / printed > 0.93


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize(("area", "other"), [(0.8, 0.7), (0.98, 0.95)])
def test_paired_intervals_of_differences_of_areas_hold(check, area, other, twins):
    for clusters in (30, 200):
        found = check.counted(check.of_differences(area, other, clusters, 200, twins, 1), area - other)
        row = check.Coverage("difference", clusters, 200, *found)
        assert row.printed > 190
        assert not row.too_low
