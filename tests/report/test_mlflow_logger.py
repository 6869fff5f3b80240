"""Curves, numbers and figures in a store of files, read back by MLflow's own client."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from dovision.config.component import read_group
from dovision.report.loggers import closing_loggers, make_loggers
from dovision.report.mlflow_logger import mlflow_name
from dovision.results.run_record import read_sweep

pytestmark = pytest.mark.slow


def test_each_job_of_a_sweep_is_a_run_with_curves_numbers_parameters_and_figures(
    copy, dovision_evaluate, stored, break_rows
):
    break_rows(4)
    words = ("logger=mlflow", "attack=fgsm", "attack.eps=0.1", "intervention.rows=2,4", "-m")
    assert dovision_evaluate(f"output_root={copy}", *words) == 1
    client, runs = stored(copy, "evaluate-")
    states = {run.info.run_name[:-7]: run.info.status for run in runs}
    assert states == {"intervention.rows=2": "FINISHED", "intervention.rows=4": "FAILED"}
    (completed,) = (run for run in runs if run.info.status == "FINISHED")
    (written,) = (run for run in read_sweep(copy / "evaluate") if run.state == "completed")
    assert completed.data.metrics["accuracy/clean"] == written.summary["conditions"]["clean"]["accuracy"]["estimate"]
    assert completed.data.params["attack/eps"] == "0.1"
    assert completed.data.tags["job_type"] == "evaluate"
    assert "figures/overlay.png" in [each.path for each in client.list_artifacts(completed.info.run_id, "figures")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val_loss", "val_loss"),
        ("accuracy/eps=8/255", "accuracy/eps 8/255"),
        ("sensitivity/clean No Finding", "sensitivity/clean No Finding"),
        ("detection_auroc/odin/adaptive eps=0.1", "detection_auroc/odin/adaptive eps 0.1"),
    ],
)
def test_a_name_of_a_condition_stays_readable(name, expected):
    assert mlflow_name(name) == expected


def test_names_that_differ_in_signs_that_mlflow_does_not_take_stay_different(job_loggers, stored, tmp_path):
    names = [f"accuracy/clean {label}" for label in ("a&b", "a+b", "a_b", "a=b", "\u00e9")]
    (logger,) = job_loggers("mlflow")
    logger.log_metrics({name: float(number) for number, name in enumerate(names)}, 0)
    _, (run,) = stored(tmp_path, "study")
    assert [run.data.metrics[mlflow_name(name)] for name in names] == [0.0, 1.0, 2.0, 3.0, 4.0]


def begin(root: Path, name: str) -> None:
    component = read_group("logger", output_root=str(root))["mlflow"]
    make_loggers({"mlflow": component}, root / name, name=name, group="study", job_type="train", config={"seed": 0})


@pytest.mark.long
def test_jobs_that_begin_at_once_share_one_experiment(tmp_path, stored):
    spawn = get_context("spawn")
    jobs = [spawn.Process(target=begin, args=(tmp_path, str(number))) for number in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert {run.info.run_name for run in stored(tmp_path, "study")[1]} == {"0", "1", "2"}


def test_a_job_continues_its_run_until_it_is_completed(job_loggers, stored, tmp_path):
    configs = [{"seed": 0}, {"seed": 0, "lr": 0.1}, {"seed": 1}]
    for step, (failed, config) in enumerate(zip([True, False, False], configs, strict=True)):
        loggers = job_loggers("mlflow", config=config)
        with suppress(KeyboardInterrupt), closing_loggers(loggers):
            loggers[0].log_metrics({"loss": 0.5}, step)
            assert stored(tmp_path, "study")[1][0].info.status == "RUNNING"
            if failed:
                raise KeyboardInterrupt
    client, (new, continued) = stored(tmp_path, "study")
    assert [each.step for each in client.get_metric_history(continued.info.run_id, "loss")] == [0, 1]
    assert (continued.info.status, continued.data.params) == ("FINISHED", {"seed": "0", "lr": "0.1"})
    assert new.data.params == {"seed": "1"}


def test_a_run_that_the_store_does_not_have_is_not_continued(job_loggers, stored, tmp_path):
    job_loggers("mlflow", config={"seed": 0})
    (tmp_path / "mlflow" / "run_id.txt").write_text("0" * 32 + "\n")
    job_loggers("mlflow", config={"seed": 1})
    assert [run.data.params["seed"] for run in stored(tmp_path, "study")[1]] == ["1", "0"]


def test_a_server_that_is_down_neither_fails_nor_stalls_a_job(job_loggers, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # or its thread would go on after the test
    (logger,) = job_loggers("mlflow", tracking_uri="http://127.0.0.1:9", patience=1, config={"seed": 0})
    logger.log_metrics({"loss": 0.5}, step=1)
    logger.finalize("success")
    assert logger.name is None
    assert caplog.text.count("MLflow failed; the job continues without it") == 1
