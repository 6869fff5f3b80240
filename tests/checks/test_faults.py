"""A short form of `make chaos`, checks/faults/campaign.py."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def campaign(monkeypatch):
    """The script, as a module."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "checks" / "faults")
    module = importlib.import_module("campaign")
    monkeypatch.setattr(module, "JOBS", [(1, 1), (2, 1), (3, 1)])
    monkeypatch.setattr(module, "SETTINGS", (*module.SETTINGS, "intervention.columns=1"))
    return module


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "commands"), [("basic", 2), pytest.param("joblib", 1, marks=pytest.mark.long)])
def test_a_killed_process_loses_no_job(campaign, monkeypatch, capsys, launcher, commands):
    if launcher != "basic":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra launchers-joblib")
    monkeypatch.setattr(campaign, "FAULTS", ("SIGKILL",))
    monkeypatch.setattr(sys, "argv", ["campaign", "--sweeps", "1", "--launchers", launcher])
    code = campaign.main()
    printed = capsys.readouterr().out
    assert f"commands={commands}, happened=1" in printed  # that of joblib has itself launched again what was lost
    assert "1 faults in 1 sweeps of 3 jobs, 3 jobs: 0 lost, 0 wrong, 0 completed twice" in printed
    assert code == 0
