"""Curves, numbers and figures in event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import pytest

from dovision.store.run_record import read_sweep


@pytest.mark.slow
def test_a_job_is_logged_with_its_numbers_figures_and_effects(copy, dovision_evaluate, events):
    assert dovision_evaluate(f"output_root={copy}", "logger=tensorboard", "attack=fgsm", "attack.eps=0.1") == 0
    (run,) = read_sweep(copy / "evaluate")
    found = events(run.folder / "tensorboard")
    for condition in ("clean", "eps=0.1"):
        (accuracy,) = {event.value for event in found.Scalars(f"accuracy/{condition}")}
        assert accuracy == pytest.approx(run.summary["conditions"][condition]["accuracy"]["estimate"])
    assert {event.step for tag in found.Tags()["scalars"] for event in found.Scalars(tag)} == {0}
    assert "gallery" in found.Tags()["images"]
    assert found.Tags()["histograms"] == ["effects"]


@pytest.mark.slow
def test_a_report_is_sent_as_pictures(finished, reported, events):
    assert reported(finished, "log_to=[tensorboard]") == 0
    assert "figures/effect_against_epsilon" in events(finished / "report" / "tensorboard").Tags()["images"]
