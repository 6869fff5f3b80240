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
    assert "figures/gallery" in found.Tags()["images"]
    assert found.Tags()["histograms"] == ["effects"]


@pytest.mark.slow
def test_a_report_is_sent_as_pictures(finished, reported, events):
    assert reported(finished, "log_to=[tensorboard]") == 0
    assert "figures/effect_against_epsilon" in events(finished / "report" / "tensorboard").Tags()["images"]


def test_a_stopped_job_goes_on_below_its_points_and_logs_no_step_twice(job_loggers, events, tmp_path):
    (logger,) = job_loggers("tensorboard", config={"seed": 0})
    for step, loss in ((1, 0.5), (2, 0.4), (3, 9.0)):  # step 3 in an epoch that was lost
        logger.log_metrics({"loss": loss}, step)
    logger.experiment.flush()
    (path,) = (tmp_path / "tensorboard").glob("events*")
    path.write_bytes(path.read_bytes()[:-3])  # as a kill may leave it
    (logger,) = job_loggers("tensorboard", config={"seed": 0})
    for step, loss in ((2, 0.25), (3, 0.125), (4, 0.0625)):
        logger.log_metrics({"loss": loss}, step)
    logger.finish(failed=False)
    found = events(tmp_path / "tensorboard").Scalars("loss")
    assert [(event.step, event.value) for event in found] == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)]
    (path,) = (path.name for path in (tmp_path / "tensorboard").iterdir() if path.name != "hparams.yaml")
    assert path.startswith("events.out.tfevents.")


def test_event_files_in_which_no_step_is_twice_stay_as_they_are(job_loggers, events, tmp_path):
    for step in (1, 2):
        (logger,) = job_loggers("tensorboard")
        logger.log_metrics({"loss": 0.5}, step)
        logger.finish(failed=False)
    assert len(list((tmp_path / "tensorboard").glob("events*"))) == 2
    assert [event.step for event in events(tmp_path / "tensorboard").Scalars("loss")] == [1, 2]
