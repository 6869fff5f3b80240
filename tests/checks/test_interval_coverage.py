"""Printed intervals of nominal .95 cover at least .93: a short form of checks/interval_coverage.py."""

from functools import partial

import numpy as np
import pytest

from programs import program


@pytest.fixture(scope="module")
def check():
    return program("checks/interval_coverage.py")


QUANTITIES = ("effect on P(class), every class", "expected effect", "difference of two sizes")
QUANTITIES += ("P(predicted class) falls by .1", "log-odds of the predicted class")


@pytest.mark.parametrize("name", ["birds", "digits", "films", "mnist"])
def test_intervals_of_recorded_effects_hold_from_five_images_on(check, name):
    population = check.populations()[name]
    assert len(population.control) >= 1000
    for what in QUANTITIES:
        for images in (5, 50):
            found = check.of_effects(population, what, images, 200, unequal=False, seed=0)
            assert not check.Coverage(what, images, 200, *found).too_low
    assert not check.Coverage("", 20, 200, *check.of_effects(population, what, 20, 200, unequal=True, seed=0)).too_low


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize(("area", "other"), [(0.8, 0.7), (0.98, 0.95)])
def test_paired_intervals_of_differences_of_areas_hold(check, area, other, twins):
    for clusters in (30, 200):
        found = check.counted(check.of_differences(area, other, clusters, 200, twins, 1), area - other)
        row = check.Coverage("difference", clusters, 200, *found)
        assert row.printed > 190
        assert not row.too_low


def thirds(estimate):
    def narrow(*words, **others):
        found = estimate(*words, **others)
        return found._replace(**{end: (2 * found.value + getattr(found, end)) / 3 for end in ("low", "high")})

    return narrow


@pytest.mark.parametrize("kind", range(11))
def test_intervals_of_recorded_scores_hold_and_a_third_of_them_does_not(check, kind, monkeypatch):
    monkeypatch.setattr(check, "SCORED", check.SCORED[kind : kind + 1])
    assert not any(row.too_low for row in check.score_rows((60,), 100))
    monkeypatch.setattr(check, "threshold", lambda clean, rate: np.quantile(clean, 1 - 2 * rate))
    for name in ("auroc", "auroc_difference", "share_interval", "mean_interval"):
        monkeypatch.setattr(check, name, thirds(getattr(check, name)))
    assert all(row.too_low for row in check.score_rows((60,), 100))


def test_medians_and_shares_of_recorded_effects_hold_and_those_of_level_half_do_not(check, monkeypatch):
    assert not any(row.too_low for row in check.spread_rows((20,), 100))
    monkeypatch.setattr(check, "spread", partial(check.spread, level=0.5))
    low = {row.what for row in check.spread_rows((20,), 100) if row.too_low}
    assert {f"{name}: {check.SPREADS[1]}, {end}" for name in ("birds", "digits") for end in check.ENDS} <= low
