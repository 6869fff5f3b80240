"""Printed intervals of nominal .95 cover at least .93: a short form of checks/interval_coverage.py."""

from __future__ import annotations

import sys

import pytest

from programs import program


@pytest.fixture(scope="module")
def check():
    return program("checks/interval_coverage.py")


def test_intervals_of_means_hold_from_three_clusters_on(check):
    rows = list(check.mean_rows((3, 8, 20, 100), 1000))
    assert not [row for row in rows if row.too_low]
    assert max((row.printed - row.held) / row.samples for row in rows) < 0.08
    even = {row.clusters: row for row in rows if row.what == "normal"}
    assert [row.printed for row in even.values()] == [1000] * 4
    assert even[100].covered < 0.98  # nor are they wide for nothing
    rare = {row.clusters: row.printed / row.samples for row in rows if row.what == "1 in 10 large"}
    assert rare[3] == 0
    assert rare[8] < 0.1
    assert rare[100] > 0.95


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
    monkeypatch.setattr(check, "EFFECTS", {"shifted": (check.EFFECTS["normal"][0], 0.9)})
    monkeypatch.setattr(check, "CLUSTERS", (20,))
    monkeypatch.setattr(check, "share_rows", lambda *_: iter(()))
    monkeypatch.setattr(check, "difference_rows", lambda *_: iter(()))
    monkeypatch.setattr(sys, "argv", ["interval_coverage.py", "--samples", "200"])
    assert check.main() == 1
    assert "too low" in capsys.readouterr().out
