"""Printed intervals of nominal .95 cover at least .93: a short form of checks/interval_coverage.py."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dovision.store.tables import read_effects
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


def test_students_t_of_effects_on_a_probability_does_not_hold_and_the_gate_says_so(check, monkeypatch):
    monkeypatch.setattr(check, "_printed", lambda what, totals, counts: check.means(totals, counts)[1:3])
    found = check.of_effects(check.populations()["mnist"], QUANTITIES[0], 20, 200, unequal=False, seed=0)
    row = check.Coverage(QUANTITIES[0], 20, 200, *found)
    assert row.too_low
    assert row.covered < 0.8


def test_a_population_is_recorded_of_a_run(check, monkeypatch, tmp_path, write_run):
    folder = write_run(tmp_path / "run", eps=(), grid=2, images=12, maps=0).path
    monkeypatch.setattr(check, "POPULATIONS", tmp_path)
    check.record("few", folder)
    recorded = check.populations()["few"].quantities()
    effects = read_effects(folder, range(12)).astype({"effect": float})
    found = np.sort(recorded["effect on P(class), every class"].sum(0))
    every = np.sort(effects.groupby(["unit", "class"])["effect"].sum())
    np.testing.assert_allclose(found, every, atol=0.01)  # all four units, in half precision


@pytest.mark.parametrize(("truth", "clusters"), [(0.9, 8), (0.5, 20), (0.98, 48)])
def test_intervals_of_shares_hold(check, truth, clusters):
    printed, held = check.counted(check.of_shares(truth, clusters, 150, 0.3, 0), truth)
    assert printed == 150
    assert held / printed > 0.93


@pytest.mark.parametrize("rates", [(0.5, 0.9), (0.9, 0.98)])
def test_intervals_of_balanced_accuracies_hold(check, rates):
    printed, held = check.counted(check.of_balanced(rates, 8, 150, 0), sum(rates) / 2)
    assert printed == 150
    assert held / printed > 0.93


def test_intervals_of_areas_hold(check):
    for area, truth in ((check.auroc, 0.9), (check.average_precision, check.precision_of(1.8124))):
        printed, held = check.counted(check.of_areas(area, 1.8124, 15, 150, True, 0), truth)
        assert printed == 150
        assert held / printed > 0.93
    assert check.precision_of(0.0) == pytest.approx(0.5)


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize(("area", "other"), [(0.8, 0.7), (0.98, 0.95)])
def test_paired_intervals_of_differences_of_areas_hold(check, area, other, twins):
    for clusters in (30, 200):
        found = check.counted(check.of_differences(area, other, clusters, 200, twins, 1), area - other)
        row = check.Coverage("difference", clusters, 200, *found)
        assert row.printed > 190
        assert not row.too_low


def test_a_coverage_that_is_too_low_ends_with_an_error(check, monkeypatch, capsys):
    low = check.Coverage("shifted", 20, 200, 200, 150)
    for name, rows in (("effect_rows", [low]), ("share_rows", []), ("difference_rows", [])):
        monkeypatch.setattr(check, name, lambda *_, rows=rows: iter(rows))
    monkeypatch.setattr(sys, "argv", ["interval_coverage.py", "--quick"])
    assert check.main() == 1
    assert "0.750 too low" in capsys.readouterr().out
